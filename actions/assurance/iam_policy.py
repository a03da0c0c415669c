"""The IAM policy that a set of actions needs, and nothing more.

Reads cannot be narrowed in IAM; what changes something is narrowed to resources with the opt-in tag
where AWS has a condition for it. Source: the service authorization reference,
https://docs.aws.amazon.com/service-authorization/latest/reference/reference.html
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actions.aws.inventory import OPT_IN_TAG, QUARANTINE_TAG
from actions.base import Action
from actions.catalog.registry import CATALOG

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


_MARKS = frozenset({"ec2:CreateTags", "ec2:DeleteTags"})
_PARTITIONS = {"cn": "aws-cn"}


def with_reversals(names: Iterable[str]) -> Sequence[Action]:
    """The actions, and those that take them back."""
    found: dict[str, Action] = {}
    for name in names:
        action = CATALOG[name]
        found[name] = action
        if action.undone_by is not None:
            found[action.undone_by] = CATALOG[action.undone_by]
    return [found[name] for name in sorted(found)]


def build_policy(names: Iterable[str], scope: "PolicyScope | None" = None) -> Mapping[str, Any]:
    """The policy document for these actions and their undoing."""
    known = scope or PolicyScope()
    needed = {one for action in with_reversals(names) for one in action.permissions}
    reads = sorted({one for one in needed if is_read(one)} | set(READS))
    writes = sorted(one for one in needed if not is_read(one))
    statements = [
        _statement("Read", reads, "*", {}, known),
        *(_changes("autoscaling", writes, known.group_arns, _TAGGED["autoscaling"], known)),
        *(_changes("ec2", writes, known.arn("ec2", "instance/*"), _TAGGED["ec2"], known)),
        *_of_elastic_load_balancing(writes, known),
        *_of_systems_manager(writes, known),
        *(_changes("sns", writes, sorted(known.topics) or "*", {}, known)),
    ]
    left = set(writes) - {one for statement in statements for one in statement["Action"]}
    statements += _marks(sorted(left & _MARKS), known)
    plain = sorted(left - _MARKS)
    if plain:
        # A snapshot's ARN has no account.
        anything = known.arn("ec2", "*", account="*")
        statements.append(_statement("ChangeEc2Other", plain, anything, {}, known))
    return {"Version": "2012-10-17", "Statement": statements}


@dataclass(frozen=True, kw_only=True)
class PolicyScope:
    """What is known of where the actions act; each narrows the policy, and nothing known is all.

    `account` is its number; `groups` are names of Auto Scaling groups, `documents` those of
    Systems Manager that are run, `topics` ARNs of SNS.
    """

    region: str | None = None
    account: str | None = None
    groups: Collection[str] = ()
    documents: Collection[str] = ("SmartCloudOps-*",)
    topics: Collection[str] = ()

    def arn(self, service: str, resource: str, *, account: str | None = None) -> str:
        """`*` where neither region nor account is known."""
        if self.region is None and self.account is None:
            return "*"
        return self._arn(service, self.account if account is None else account, resource)

    @property
    def group_arns(self) -> "list[str] | str":
        name = "autoScalingGroup:*:autoScalingGroupName/"
        if self.groups:
            found = sorted(self.groups)
            return [self._arn("autoscaling", self.account, name + one) for one in found]
        return self.arn("autoscaling", f"{name}*")

    def document_arns(self) -> list[str]:
        # Documents of AWS itself have no account in their ARN; ours are never those.
        found = sorted(self.documents)
        return [self._arn("ssm", self.account, f"document/{one}") for one in found]

    def instance_arn(self) -> str:
        return self._arn("ec2", self.account, "instance/*")

    def _arn(self, service: str, account: str | None, resource: str) -> str:
        partition = "*"
        if self.region is not None:
            partition = _PARTITIONS.get(self.region.partition("-")[0], "aws")
            partition = "aws-us-gov" if self.region.startswith("us-gov-") else partition
        return f"arn:{partition}:{service}:{self.region or '*'}:{account or '*'}:{resource}"


def _changes(
    service: str,
    writes: Iterable[str],
    resources: Any,
    condition: Mapping[str, Any],
    scope: PolicyScope,
) -> Iterator[dict[str, Any]]:
    mine = [one for one in writes if one.startswith(f"{service}:") and one not in _UNTAGGED]
    if mine:
        sid = "Change" + service[0].upper() + service[1:]
        yield _statement(sid, mine, resources, condition, scope)


def _of_elastic_load_balancing(
    writes: Iterable[str], scope: PolicyScope
) -> Iterator[dict[str, Any]]:
    """Targets go in and out of target groups; weights are those of a listener's rule."""
    service = "elasticloadbalancing"
    for sid, suffix, kind in (
        ("ChangeTargets", "Targets", "targetgroup/*/*"),
        ("ChangeRules", "Rule", "listener-rule/*"),
    ):
        mine = [one for one in writes if one.startswith(f"{service}:") and one.endswith(suffix)]
        if mine:
            yield _statement(sid, mine, scope.arn(service, kind), {}, scope)


def _of_systems_manager(writes: Iterable[str], scope: PolicyScope) -> Iterator[dict[str, Any]]:
    """A command needs the right to its document and to its instance, each for itself.

    https://docs.aws.amazon.com/systems-manager/latest/userguide/run-command-setting-up.html
    """
    if "ssm:SendCommand" not in writes:
        return
    sent = ["ssm:SendCommand"]
    tagged = {"StringEquals": {f"ssm:resourceTag/{OPT_IN_TAG}": "true"}}
    yield _statement("SendDocuments", sent, scope.document_arns(), {}, scope)
    yield _statement("SendToInstances", sent, scope.instance_arn(), tagged, scope)


def _marks(writes: Sequence[str], scope: PolicyScope) -> Iterator[dict[str, Any]]:
    """Tags can be set, but only our own mark: else the role could opt in whatever it likes."""
    if writes:
        own = {
            "ForAllValues:StringEquals": {"aws:TagKeys": [QUARANTINE_TAG]},
            "Null": {"aws:TagKeys": "false"},
        }
        anything = scope.arn("ec2", "*", account="*")
        yield _statement("Mark", writes, anything, own, scope)


def _statement(
    sid: str,
    actions: Sequence[str],
    resources: Any,
    condition: Mapping[str, Any],
    scope: PolicyScope,
) -> dict[str, Any]:
    conditions = {key: dict(value) for key, value in condition.items()}
    if scope.region is not None:
        conditions.setdefault("StringEquals", {})["aws:RequestedRegion"] = scope.region
    said = {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": resources}
    return said | ({"Condition": conditions} if conditions else {})


def is_read(permission: str) -> bool:
    return permission.partition(":")[2].startswith(_READING)
