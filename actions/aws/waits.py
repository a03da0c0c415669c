"""How long AWS itself may take: to drain targets, for a group's hooks, and to show what a call did.

Its APIs are eventually consistent. EC2's guide has callers ask again for "a few minutes", in
earlier editions for five. Systems Manager names the model and no time, Auto Scaling and Elastic
Load Balancing neither; Terraform waits for two minutes.
https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html
https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetCommandInvocation.html
https://github.com/hashicorp/terraform-provider-aws/pull/40088
"""

from collections.abc import Iterable

from actions.aws.client_set import Aws
from actions.aws.group_activities import read_hooks
from actions.aws.groups import read_group
from actions.aws.target_health import read_attributes

_DELAY = "deregistration_delay.timeout_seconds"
# Seconds until a call is shown, by the service in its permission.
_SHOWN_WITHIN_S = {
    "arc-zonal-shift": 120.0,
    "autoscaling": 120.0,
    "ec2": 300.0,
    "elasticloadbalancing": 120.0,
    "ssm": 120.0,
}
# A call may arrive this late at any service.
_ARRIVES_WITHIN_S = 15.0
_READS = ("Describe", "Get", "List")


def draining_s(aws: Aws, target_groups: Iterable[str]) -> float:
    """The longest deregistration delay of the target groups. Raises botocore's errors.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html
    """
    delays = (float(read_attributes(aws, arn).get(_DELAY, "0")) for arn in target_groups)
    return max(delays, default=0.0)


def launch_hooks_s(aws: Aws, group: str) -> float:
    """The longest heartbeat of the group's hooks on a launch. Raises botocore's errors."""
    return max((hook.timeout_s for hook in read_hooks(aws, group) if hook.launching), default=0.0)


def leaving_s(aws: Aws, group: str) -> float:
    """How long a member drains and hooks hold it, until it is gone. Raises as `read_group`."""
    drained = draining_s(aws, read_group(aws, group).target_groups)
    held = (hook.timeout_s for hook in read_hooks(aws, group) if not hook.launching)
    return drained + max(held, default=0.0)


def shown_within_s(permissions: Iterable[str]) -> float:
    """Seconds within which a call that needs these permissions may not be shown yet."""
    services = [
        service
        for service, _, operation in (permission.partition(":") for permission in permissions)
        if not operation.startswith(_READS)
    ]
    return max(
        (_SHOWN_WITHIN_S.get(service, _ARRIVES_WITHIN_S) for service in services),
        default=_ARRIVES_WITHIN_S,
    )
