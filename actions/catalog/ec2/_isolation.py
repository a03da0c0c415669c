"""Isolates an instance by a security group without rules, and keeps its disks for forensics."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import StringConstraints

from actions.aws.tags import QUARANTINE_TAG
from actions.aws.target_errors import NotActionableError
from actions.base import Call, CallResult, Outcome, Params

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import NetworkInterfaceTypeDef

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
    networks = sorted({interface.get("VpcId", "") for interface in _interfaces(call)})
    filters = [{"Name": "group-name", "Values": [name]}, {"Name": "vpc-id", "Values": networks}]
    groups = call.aws.ec2.describe_security_groups(Filters=filters).get("SecurityGroups", [])  # type: ignore[arg-type] # it fits
    if len(groups) != 1:
        raise NotActionableError(f"the VPC of {call.target} has no security group {name}")
    return {**call.params, "security_group": groups[0].get("GroupId", "")}


def check_isolates(call: Call) -> None:
    """Raises NotActionableError where the security group would not isolate the instance."""
    wanted = call.params["security_group"]
    answer = call.aws.ec2.describe_security_groups(
        Filters=[{"Name": "group-id", "Values": [wanted]}]
    )
    matches = answer.get("SecurityGroups", [])
    if len(matches) != 1:
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


def isolate(call: Call) -> None:
    """Tag the instance, snapshot its disks, and assign the isolating group. A repeat is safe."""
    tags = [{"Key": QUARANTINE_TAG, "Value": call.token}]
    call.aws.ec2.create_tags(Resources=[call.target], Tags=tags)  # type: ignore[arg-type] # a dict of the same keys
    if call.params.get("snapshot", True):
        _keep_disks(call)
    isolating = [call.params["security_group"]]
    assign(call, dict.fromkeys(security_groups(call), isolating))


def assign(call: Call, wanted: Mapping[str, Sequence[str]]) -> None:
    """Set the security groups of the interfaces."""
    for interface, ids in wanted.items():
        call.aws.ec2.modify_network_interface_attribute(
            NetworkInterfaceId=interface, Groups=list(ids)
        )


def unchanged_or_unknown(call: Call) -> CallResult:
    """Failed where the security groups are as before the call, otherwise unknown."""
    same = security_groups(call) == call.before["groups"]
    return CallResult(Outcome.FAILED if same else Outcome.UNKNOWN)


def _interfaces(call: Call) -> "list[NetworkInterfaceTypeDef]":
    answer = call.aws.ec2.describe_network_interfaces(
        Filters=[{"Name": "attachment.instance-id", "Values": [call.target]}]
    )
    return answer.get("NetworkInterfaces", [])


def _keep_disks(call: Call) -> None:
    """Take a snapshot of each disk, once for this step."""
    volumes = call.aws.ec2.describe_volumes(
        Filters=[{"Name": "attachment.instance-id", "Values": [call.target]}]
    ).get("Volumes", [])
    snapshots = call.aws.ec2.describe_snapshots(
        OwnerIds=["self"], Filters=[{"Name": f"tag:{QUARANTINE_TAG}", "Values": [call.token]}]
    ).get("Snapshots", [])
    kept = {snapshot.get("VolumeId") for snapshot in snapshots}
    for volume in volumes:
        if volume.get("VolumeId") not in kept:
            call.aws.ec2_once.create_snapshot(
                VolumeId=volume.get("VolumeId", ""),
                Description=f"{call.target} quarantined by {call.token}",
                TagSpecifications=[
                    {
                        "ResourceType": "snapshot",
                        "Tags": [{"Key": QUARANTINE_TAG, "Value": call.token}],
                    }
                ],
            )
