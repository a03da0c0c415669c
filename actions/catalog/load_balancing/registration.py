"""Which target groups of its Auto Scaling group an instance is registered in, and how it fares."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field, StringConstraints

from actions.aws.clients import Aws
from actions.base import Params

Arn = Annotated[
    str,
    StringConstraints(
        pattern=r"^arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:\d{12}:targetgroup/[\w-]+/\w+$"
    ),
]
GONE = frozenset({"unused", "draining"})


class TargetGroups(Params):
    """Of the instance's Auto Scaling group; by default all of them."""

    target_groups: Annotated[list[Arn], Field(max_length=20)] = Field(default_factory=list)


def states(aws: Aws, arn: str) -> Mapping[str, str]:
    """Health state of each instance that the target group knows."""
    answer = aws.elbv2.describe_target_health(TargetGroupArn=arn)
    return {
        one.get("Target", {}).get("Id", ""): one.get("TargetHealth", {}).get("State", "")
        for one in answer.get("TargetHealthDescriptions", [])
    }


def registered(aws: Aws, instance_id: str, arns: Sequence[str]) -> list[str]:
    """Those of the target groups that send traffic to the instance."""
    return [arn for arn in arns if states(aws, arn).get(instance_id, "unused") not in GONE]
