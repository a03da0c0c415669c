"""The IAM policy that a set of actions needs, and nothing more.

Reads cannot be narrowed in IAM; what changes something is narrowed to resources with the opt-in tag
where AWS has a condition for it. Source: the service authorization reference,
https://docs.aws.amazon.com/service-authorization/latest/reference/reference.html
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from actions.action import Action
from actions.catalog import CATALOG
from actions.fleet import OPT_IN_TAG

# What every decision reads, whatever the playbooks do.
READS = (
    "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:DescribeInstanceRefreshes",
    "cloudtrail:LookupEvents",
    "ec2:DescribeInstanceAttribute",
    "ec2:DescribeInstances",
    "elasticloadbalancing:DescribeTargetHealth",
)
_READING = ("Describe", "Get", "List", "Lookup")
_TAGGED = {
    "autoscaling": {"StringEquals": {f"autoscaling:ResourceTag/{OPT_IN_TAG}": "true"}},
    "ec2": {"StringEquals": {f"aws:ResourceTag/{OPT_IN_TAG}": "true"}},
}
# Made for the act, or known by other ids than the instance's: the tag is not on them.
_UNTAGGED = frozenset(
    {
        "ec2:CreateSnapshot",
        "ec2:CreateTags",
        "ec2:DeleteTags",
        "ec2:ModifyNetworkInterfaceAttribute",
    }
)


def with_undoing(names: Iterable[str]) -> Sequence[Action]:
    """The actions, and those that take them back."""
    found: dict[str, Action] = {}
    for name in names:
        action = CATALOG[name]
        found[name] = action
        if action.undone_by is not None:
            found[action.undone_by] = CATALOG[action.undone_by]
    return [found[name] for name in sorted(found)]


def policy(names: Iterable[str]) -> Mapping[str, Any]:
    """The policy document for these actions and their undoing."""
    needed = {one for action in with_undoing(names) for one in action.permissions}
    reads = sorted({one for one in needed if is_read(one)} | set(READS))
    statements = [{"Sid": "Read", "Effect": "Allow", "Action": reads, "Resource": "*"}]
    writes = sorted(one for one in needed if not is_read(one))
    for service in sorted({one.partition(":")[0] for one in writes}):
        mine = [one for one in writes if one.startswith(f"{service}:")]
        tagged = [one for one in mine if service in _TAGGED and one not in _UNTAGGED]
        plain = [one for one in mine if one not in tagged]
        if tagged:
            statements.append(_statement(service, tagged) | {"Condition": _TAGGED[service]})
        if plain:
            statements.append(_statement(f"{service}Other", plain))
    return {"Version": "2012-10-17", "Statement": statements}


def _statement(name: str, actions: Sequence[str]) -> dict[str, Any]:
    sid = "Change" + name[0].upper() + name[1:]
    resources: Any = "*"
    if list(actions) == ["ssm:SendCommand"]:
        resources = ["arn:*:ssm:*:*:document/SmartCloudOps-*", "arn:*:ec2:*:*:instance/*"]
    return {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": resources}


def is_read(permission: str) -> bool:
    return permission.partition(":")[2].startswith(_READING)
