"""How long AWS itself may take: the draining of targets, and the lifecycle hooks of a group."""

from collections.abc import Iterable

from actions.aws.client_set import Aws
from actions.aws.group_activities import read_hooks
from actions.aws.groups import read_group

_DELAY = "deregistration_delay.timeout_seconds"


def draining_s(aws: Aws, target_groups: Iterable[str]) -> float:
    """The longest deregistration delay of the target groups. Raises botocore's errors.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html
    """
    delays = [0.0]
    for arn in target_groups:
        answer = aws.elbv2.describe_target_group_attributes(TargetGroupArn=arn)
        delays += [
            float(attribute.get("Value", "0"))
            for attribute in answer["Attributes"]
            if attribute.get("Key") == _DELAY
        ]
    return max(delays)


def launch_hooks_s(aws: Aws, group: str) -> float:
    """The longest heartbeat of the group's hooks on a launch. Raises botocore's errors."""
    return max((hook.timeout_s for hook in read_hooks(aws, group) if hook.launching), default=0.0)


def leaving_s(aws: Aws, group: str) -> float:
    """How long a member drains and hooks hold it, until it is gone. Raises as `read_group`."""
    drained = draining_s(aws, read_group(aws, group).target_groups)
    held = (hook.timeout_s for hook in read_hooks(aws, group) if not hook.launching)
    return drained + max(held, default=0.0)
