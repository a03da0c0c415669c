"""Isolates an instance by a security group without rules, and keeps its disks for forensics.

First the instance is cut off, each interface by itself, whatever else fails; the disks follow. A
change of groups leaves open those connections that a group tracks; what a rule for all addresses
lets through is not tracked, and ends with that rule. So each interface gets the VPC's group
`smartcloudops-untracked` for a moment, if there is one, as AWSSupport-ContainEC2Instance does.
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/security-group-connection-tracking.html
https://docs.aws.amazon.com/systems-manager-automation-runbooks/latest/userguide/automation-awssupport-containec2instance.html
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import StringConstraints

from actions.aws.instances import read_instance
from actions.aws.tags import QUARANTINE_TAG
from actions.aws.target_errors import NotActionableError
from actions.base import Call, CallResult, Outcome, Params
from actions.catalog.ec2._attempts import Attempts
from actions.catalog.ec2._disks import keep_disks, unkept_disks

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import (
        FilterTypeDef,
        IpPermissionOutputTypeDef,
        NetworkInterfaceTypeDef,
        SecurityGroupTypeDef,
    )

ISOLATE_PERMISSIONS = (
    "ec2:CreateSnapshot",
    "ec2:CreateTags",
    "ec2:DescribeInstances",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSnapshots",
    "ec2:DescribeVolumes",
    "ec2:ModifyNetworkInterfaceAttribute",
)
RELEASE_PERMISSIONS = (
    "ec2:DeleteTags",
    "ec2:DescribeInstances",
    "ec2:DescribeNetworkInterfaces",
    "ec2:ModifyNetworkInterfaceAttribute",
)
GroupId = Annotated[str, StringConstraints(pattern=r"^sg-(?:[0-9a-f]{8}|[0-9a-f]{17})$")]
_GroupName = Annotated[str, StringConstraints(pattern=r"^smartcloudops-[a-z0-9-]{1,64}$")]


class IsolationParams(Params):
    """`security_group`, an id or a name, has no rules and belongs to the instance's VPC."""

    security_group: GroupId | _GroupName
    snapshot: bool = True


def security_groups(call: Call) -> dict[str, list[str]]:
    """Ids of security groups by id of the instance's network interface."""
    return {
        interface.get("NetworkInterfaceId", ""): sorted(
            group.get("GroupId", "") for group in interface.get("Groups", [])
        )
        for interface in _interfaces(call)
    }


def with_group_id(call: Call) -> Mapping[str, Any]:
    """The parameters with the security group's id. Raises NotActionableError."""
    name = call.params["security_group"]
    if name.startswith("sg-"):
        return call.params
    groups = _groups_named(call, name)
    if len(groups) != 1:
        raise NotActionableError(f"the VPC of {call.target} has no security group {name}")
    return {**call.params, "security_group": groups[0].get("GroupId", "")}


def check_isolates(call: Call) -> None:
    """Raises NotActionableError where the security group would not isolate the instance."""
    wanted = call.params["security_group"]
    matches = _find_groups(call, [{"Name": "group-id", "Values": [wanted]}])
    if [group.get("GroupId") for group in matches] != [wanted]:
        raise NotActionableError(f"security group {wanted} does not exist")
    group = matches[0]
    if group.get("IpPermissions") != []:
        raise NotActionableError(f"security group {wanted} has inbound rules: remove them")
    # AWS creates each security group with a rule that allows all outbound traffic.
    if group.get("IpPermissionsEgress") != []:
        raise NotActionableError(f"security group {wanted} has outbound rules: remove them")
    # Checked before any change: AWS refuses another VPC only after the instance was tagged.
    if any(interface.get("VpcId") != group.get("VpcId") for interface in _interfaces(call)):
        raise NotActionableError(f"security group {wanted} is in another VPC than {call.target}")


def is_isolated(call: Call) -> bool:
    """Whether every interface has only the isolating group."""
    by_interface = security_groups(call)
    isolating = [call.params["security_group"]]
    return bool(by_interface) and all(ids == isolating for ids in by_interface.values())


def is_ours(call: Call) -> bool:
    """Whether an interface has the group that this step gave it, and no other has a foreign one."""
    ours = [[call.params["security_group"]], [call.before.get("untracking")]]
    current, before = security_groups(call), call.before["groups"]
    return any(ids in ours for ids in current.values()) and all(
        ids in ours or ids == before.get(interface) for interface, ids in current.items()
    )


def untracking_group(call: Call) -> str:
    """The id of the group that ends tracking; empty where the VPC has none for all addresses."""
    for group in _groups_named(call, "smartcloudops-untracked"):
        inbound, outbound = group.get("IpPermissions", []), group.get("IpPermissionsEgress", [])
        if _lets_all(inbound) and _lets_all(outbound):
            return group.get("GroupId", "")
    return ""


def cut_off(call: Call, attempts: Attempts) -> None:
    """Give every interface only the isolating group. A repeat is safe."""
    isolating = [call.params["security_group"]]
    for interface, ids in security_groups(call).items():
        if ids != isolating:
            former = call.before.get("groups", {}).get(interface, ids)
            attempts(lambda name=interface, ids=former: _cut_off(call, name, ids))  # type: ignore[misc] # mypy does not infer it


def keep_evidence(call: Call, attempts: Attempts) -> None:
    """Mark the instance, once it is cut off, and take a snapshot of each disk."""
    attempts(lambda: _mark(call))
    if call.params.get("snapshot", True):
        attempts(lambda: keep_disks(call, attempts))


def _mark(call: Call) -> bool:
    isolated = is_isolated(call)
    if isolated:
        tags = [{"Key": QUARANTINE_TAG, "Value": call.token}]
        call.aws.ec2.create_tags(Resources=[call.target], Tags=tags)  # type: ignore[arg-type] # a dict of the same keys
    return isolated


def undone(call: Call) -> list[str]:
    """A sentence for each part of the isolation that AWS does not show."""
    isolating, untracking = call.params["security_group"], call.before.get("untracking")
    missing = [
        f"{interface} is {'open to all' if ids == [untracking] else 'connected'}"
        for interface, ids in security_groups(call).items()
        if ids != [isolating]
    ]
    if call.params.get("snapshot", True):
        missing += [f"{volume} has no snapshot" for volume in unkept_disks(call)]
    if QUARANTINE_TAG not in read_instance(call.aws, call.target).tags:
        missing.append(f"{call.target} is not tagged")
    return missing


def _cut_off(call: Call, interface: str, former: Sequence[str]) -> bool:
    """Raises botocore's error where the interface stays connected, with its former groups."""
    if untracking := call.before.get("untracking"):
        # The isolating group below cuts off whether or not this call succeeds.
        with suppress(Exception):
            assign(call, interface, [untracking])
    try:
        assign(call, interface, [call.params["security_group"]])
    except Exception:
        if untracking:
            with suppress(Exception):
                assign(call, interface, former)
        raise
    return True


def _lets_all(permissions: "Sequence[IpPermissionOutputTypeDef]") -> bool:
    return any(
        permission.get("IpProtocol") == "-1" and range_.get("CidrIp") == "0.0.0.0/0"
        for permission in permissions
        for range_ in permission.get("IpRanges", [])
    )


def assign(call: Call, interface: str, ids: Sequence[str]) -> None:
    """Set the security groups of the interface."""
    call.aws.ec2.modify_network_interface_attribute(NetworkInterfaceId=interface, Groups=list(ids))


def unchanged_or_unknown(call: Call) -> CallResult:
    """Failed where the security groups are as before the call, otherwise unknown."""
    same = security_groups(call) == call.before["groups"]
    return CallResult(Outcome.FAILED if same else Outcome.UNKNOWN)


def settled(call: Call, missing: Sequence[str], *, moved: bool) -> CallResult:
    """Changed where nothing is missing; otherwise `made` says what is.

    `moved`: the instance has left its group, or changed its state, since before the call.
    """
    if not missing:
        return CallResult(Outcome.CHANGED)
    outcome = Outcome.UNKNOWN if moved else unchanged_or_unknown(call).outcome
    return CallResult(outcome, {"undone": list(missing)})


def _groups_named(call: Call, name: str) -> "Sequence[SecurityGroupTypeDef]":
    """The security groups with this name in the instance's VPC."""
    networks = sorted({interface.get("VpcId", "") for interface in _interfaces(call)})
    return _find_groups(
        call,
        [{"Name": "group-name", "Values": [name]}, {"Name": "vpc-id", "Values": networks}],
    )


def _find_groups(
    call: Call, filters: "Sequence[FilterTypeDef]"
) -> "Sequence[SecurityGroupTypeDef]":
    pages = call.aws.ec2.get_paginator("describe_security_groups").paginate(Filters=filters)
    return [group for page in pages for group in page.get("SecurityGroups", [])]


def _interfaces(call: Call) -> "list[NetworkInterfaceTypeDef]":
    """The instance's own interfaces, whatever the answer has."""
    pages = call.aws.ec2.get_paginator("describe_network_interfaces").paginate(
        Filters=[{"Name": "attachment.instance-id", "Values": [call.target]}]
    )
    return [
        interface
        for page in pages
        for interface in page.get("NetworkInterfaces", [])
        if interface.get("Attachment", {}).get("InstanceId", call.target) == call.target
    ]
