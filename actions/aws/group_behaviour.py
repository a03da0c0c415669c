"""What a group will do about an act on it or its member, and whether the act can come about.

With Launch suspended nothing is added, attached or brought back from standby; with Terminate
nothing goes; with InstanceRefresh no refresh starts; with AddToLoadBalancer a new instance gets no
traffic.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/understand-how-suspending-processes-affects-other-processes.html
"""

from actions.aws.groups import Group
from actions.aws.target_errors import NotActionableError


def require_processes(group: Group, *needed: str) -> None:
    """Raises NotActionableError where the group is being deleted, or has suspended one of these."""
    if group.status:
        raise NotActionableError(f"{group.name} is being deleted: {group.status}")
    suspended = sorted(group.suspended.intersection(needed))
    if suspended:
        raise NotActionableError(
            f"{group.name} has suspended {', '.join(suspended)}: resume it first"
        )
