"""The processes of Auto Scaling that can be suspended.

Source: https://docs.aws.amazon.com/autoscaling/ec2/userguide/as-suspend-resume-processes.html
"""

from typing import Annotated, Literal

from pydantic import Field

from actions.action import Params

Process = Literal[
    "Launch",
    "Terminate",
    "AddToLoadBalancer",
    "AlarmNotification",
    "AZRebalance",
    "HealthCheck",
    "InstanceRefresh",
    "ReplaceUnhealthy",
    "ScheduledActions",
]


class Processes(Params):
    """Never none: to AWS no name means all of them."""

    processes: Annotated[list[Process], Field(min_length=1, max_length=9)]
