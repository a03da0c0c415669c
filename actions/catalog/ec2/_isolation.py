"""An instance behind a security group without rules, its disks kept for forensics."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import StringConstraints

from actions.aws.inventory import QUARANTINE_TAG, NotActionableError
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


class IsolationParams(Params):
    """`security_group` has no rules, and lies in the instance's VPC."""

    security_group: GroupId
    snapshot: bool = True


def security_groups(call: Call) -> dict[str, list[str]]:
    """Security groups by network interface of the instance."""
    return {
        interface.get("NetworkInterfaceId", ""): sorted(
            group.get("GroupId", "") for group in interface.get("Groups", [])
        )
        for interface in _interfaces(call)
    }


def check_isolates(call: Call) -> None:
    """Raises NotActionableError where the security group would not isolate the instance."""
    wanted = call.params["security_group"]
    answer = call.aws.ec2.describe_security_groups(
        Filters=[{"Name": "group-id", "Values": [wanted]}]
    )
    matches = answer.get("SecurityGroups", [])
    if len(matches) != 1:
        raise NotActionableError(f"the security group {wanted} does not exist")
    group = matches[0]
    if group.get("IpPermissions"):
        raise NotActionableError(f"the security group {wanted} lets something in")
    # A security group is created with a rule that lets everything out.
    if group.get("IpPermissionsEgress"):
        raise NotActionableError(f"the security group {wanted} lets something out")
    # Checked now: refused only at the assignment, the instance would be tagged and not isolated.
    if any(interface.get("VpcId") != group.get("VpcId") for interface in _interfaces(call)):
        raise NotActionableError(f"the security group {wanted} lies in another VPC")


def is_isolated(call: Call) -> bool:
    """Whether every interface has the isolating group alone."""
    by_interface = security_groups(call)
    isolating = [call.params["security_group"]]
    return bool(by_interface) and all(ids == isolating for ids in by_interface.values())


def isolate(call: Call) -> None:
    """Tag the instance, keep its disks, and assign the isolating group; each safe to repeat."""
    tags = [{"Key": QUARANTINE_TAG, "Value": call.token}]
    call.aws.ec2.create_tags(Resources=[call.target], Tags=tags)  # type: ignore[arg-type] # it fits
    if call.params.get("snapshot", True):
        _keep_disks(call)
    isolating = [call.params["security_group"]]
    assign(call, dict.fromkeys(security_groups(call), isolating))


def assign(call: Call, wanted: Mapping[str, Sequence[str]]) -> None:
    """Give interfaces their security groups."""
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
