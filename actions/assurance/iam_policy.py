"""The least IAM policy that a set of actions needs.

Reads cannot be narrowed in IAM; changes are narrowed to resources with the opt-in tag where AWS has
a condition for it. Source: the service authorization reference,
https://docs.aws.amazon.com/service-authorization/latest/reference/reference.html
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.loaders import Loader

from actions.aws.tags import OPT_IN_TAG, QUARANTINE_TAG
from actions.base import Action
from actions.catalog.registry import CATALOG

# Every decision makes these reads, with any playbooks.
READS = (
    "autoscaling:DescribeAutoScalingGroups",
    "autoscaling:DescribeInstanceRefreshes",
    "cloudtrail:LookupEvents",
    "ec2:DescribeInstanceAttribute",
    "ec2:DescribeInstanceStatus",
    "ec2:DescribeInstances",
    "ec2:DescribeSpotInstanceRequests",
    "ec2:DescribeVolumeStatus",
    "ec2:DescribeVolumes",
    "elasticloadbalancing:DescribeTargetHealth",
    "ssm:DescribeSessions",
    "ssm:ListCommandInvocations",
)
_READING = ("Describe", "Get", "List", "Lookup")
_TAGGED = {
    "autoscaling": {"StringEquals": {f"autoscaling:ResourceTag/{OPT_IN_TAG}": "true"}},
    "ec2": {"StringEquals": {f"aws:ResourceTag/{OPT_IN_TAG}": "true"}},
}
# The resources of these calls have no opt-in tag: they are new, or they are not instances.
_UNTAGGED = frozenset(
    {
        "ec2:CreateSnapshot",
        "ec2:CreateTags",
        "ec2:DeleteTags",
        "ec2:ModifyNetworkInterfaceAttribute",
        "ec2:RunInstances",
    }
)


_MARKS = frozenset({"ec2:CreateTags", "ec2:DeleteTags"})
_LAUNCHES = frozenset({"ec2:RunInstances"})


def with_reversals(names: Iterable[str]) -> Sequence[Action]:
    """The actions, their safeguards, and the actions that roll them back."""
    actions: dict[str, Action] = {}
    for action in map(CATALOG.__getitem__, names):
        for done in filter(None, (action, action.safeguard)):
            actions[done.name] = done
            if done.undone_by is not None:
                actions[done.undone_by] = CATALOG[done.undone_by]
    return [actions[name] for name in sorted(actions)]


def build_policy(
    names: Iterable[str], scope: "PolicyScope | None" = None, *, reads: Iterable[str] = ()
) -> Mapping[str, Any]:
    """The policy document for these actions and their rollback, and for further `reads`."""
    scope = scope or PolicyScope()
    needed = {name for action in with_reversals(names) for name in action.permissions}
    read = sorted({name for name in needed if is_read(name)} | {*READS, *reads})
    writes = sorted(name for name in needed if not is_read(name))
    statements = [
        _statement("Read", read, "*", {}, scope),
        *(_changes("autoscaling", writes, scope.group_arns, _TAGGED["autoscaling"], scope)),
        *(_changes("ec2", writes, scope.arn("ec2", "instance/*"), _TAGGED["ec2"], scope)),
        *_of_elastic_load_balancing(writes, scope),
        *_of_zonal_shift(writes, scope),
        *_of_systems_manager(writes, scope),
        *(_changes("sns", writes, sorted(scope.topics) or "*", {}, scope)),
    ]
    left = set(writes) - {name for statement in statements for name in statement["Action"]}
    statements += _marks(sorted(left & _MARKS), scope)
    statements += _launches(sorted(left & _LAUNCHES), scope)
    plain = sorted(left - _MARKS - _LAUNCHES)
    if plain:
        # A snapshot's ARN has no account.
        anything = scope.arn("ec2", "*", account="*")
        statements.append(_statement("ChangeEc2Other", plain, anything, {}, scope))
    return {"Version": "2012-10-17", "Statement": statements}


@dataclass(frozen=True, kw_only=True)
class PolicyScope:
    """The resources of the actions; each known field narrows the policy.

    `account` is its number; `groups` are names of Auto Scaling groups, `documents` names of Systems
    Manager documents, `topics` ARNs of SNS.
    """

    region: str | None = None
    account: str | None = None
    groups: Collection[str] = ()
    documents: Collection[str] = ("SmartCloudOps-*",)
    topics: Collection[str] = ()

    def arn(self, service: str, resource: str, *, account: str | None = None) -> str:
        """The ARN of a resource; `*` where neither region nor account is known."""
        if self.region is None and self.account is None:
            return "*"
        return self._arn(service, self.account if account is None else account, resource)

    @property
    def group_arns(self) -> "list[str] | str":
        name = "autoScalingGroup:*:autoScalingGroupName/"
        if self.groups:
            groups = sorted(self.groups)
            return [self._arn("autoscaling", self.account, name + group) for group in groups]
        return self.arn("autoscaling", f"{name}*")

    def document_arns(self) -> list[str]:
        # With an account the ARN matches no document of AWS itself.
        documents = sorted(self.documents)
        return [self._arn("ssm", self.account, f"document/{name}") for name in documents]

    def instance_arn(self) -> str:
        return self._arn("ec2", self.account, "instance/*")

    def _arn(self, service: str, account: str | None, resource: str) -> str:
        partition = "*" if self.region is None else _partition(self.region)
        return f"arn:{partition}:{service}:{self.region or '*'}:{account or '*'}:{resource}"


def _partition(region: str) -> str:
    """The partition of a region, by botocore's table; "aws" for one that it does not have."""
    partitions: Any = Loader().load_data("partitions")
    for partition in partitions["partitions"]:
        if re.match(partition["regionRegex"], region):
            return str(partition["id"])
    return "aws"


def _changes(
    service: str,
    writes: Iterable[str],
    resources: Any,
    condition: Mapping[str, Any],
    scope: PolicyScope,
) -> Iterator[dict[str, Any]]:
    own = [name for name in writes if name.startswith(f"{service}:") and name not in _UNTAGGED]
    if own:
        sid = "Change" + service[0].upper() + service[1:]
        yield _statement(sid, own, resources, condition, scope)


def _of_elastic_load_balancing(
    writes: Iterable[str], scope: PolicyScope
) -> Iterator[dict[str, Any]]:
    """Registration changes a target group; weights change a listener's rule."""
    service = "elasticloadbalancing"
    for sid, suffix, kind in (
        ("ChangeTargets", "Targets", "targetgroup/*/*"),
        ("ChangeRules", "Rule", "listener-rule/*"),
    ):
        own = [name for name in writes if name.startswith(f"{service}:") and name.endswith(suffix)]
        if own:
            yield _statement(sid, own, scope.arn(service, kind), {}, scope)


def _of_zonal_shift(writes: Iterable[str], scope: PolicyScope) -> Iterator[dict[str, Any]]:
    """Each call is about the load balancer whose traffic is shifted.

    https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonapplicationrecoverycontroller-zonalshift.html
    """
    own = [name for name in writes if name.startswith("arc-zonal-shift:")]
    if own:
        balancers = scope.arn("elasticloadbalancing", "loadbalancer/*")
        yield _statement("ShiftZones", own, balancers, {}, scope)


def _of_systems_manager(writes: Iterable[str], scope: PolicyScope) -> Iterator[dict[str, Any]]:
    """A command needs one permission for its document and another for its instance.

    https://docs.aws.amazon.com/systems-manager/latest/userguide/run-command-setting-up.html
    """
    if "ssm:SendCommand" not in writes:
        return
    # A command is no resource of IAM.
    if "ssm:CancelCommand" in writes:
        yield _statement("CancelCommands", ["ssm:CancelCommand"], "*", {}, scope)
    send = ["ssm:SendCommand"]
    tagged = {"StringEquals": {f"ssm:resourceTag/{OPT_IN_TAG}": "true"}}
    yield _statement("SendDocuments", send, scope.document_arns(), {}, scope)
    yield _statement("SendToInstances", send, scope.instance_arn(), tagged, scope)


def _marks(writes: Sequence[str], scope: PolicyScope) -> Iterator[dict[str, Any]]:
    """Only the quarantine tag may be set: with other tags the role could opt in any instance."""
    if writes:
        own = {
            "ForAllValues:StringEquals": {"aws:TagKeys": [QUARANTINE_TAG]},
            "Null": {"aws:TagKeys": "false"},
        }
        anything = scope.arn("ec2", "*", account="*")
        yield _statement("Mark", writes, anything, own, scope)


def _launches(writes: Sequence[str], scope: PolicyScope) -> Iterator[dict[str, Any]]:
    """Auto Scaling checks that its caller may launch from the template; nothing else launches.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-launch-template-permissions.html
    """
    if writes:
        of_template = {"ArnLike": {"ec2:LaunchTemplate": scope.arn("ec2", "launch-template/*")}}
        anything = scope.arn("ec2", "*", account="*")
        yield _statement("UseLaunchTemplates", writes, anything, of_template, scope)


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
    statement = {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": resources}
    return statement | ({"Condition": conditions} if conditions else {})


def is_read(permission: str) -> bool:
    return permission.partition(":")[2].startswith(_READING)
