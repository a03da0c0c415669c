"""An instance behind a security group that lets nothing through, its disks kept for forensics."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import StringConstraints

from actions.aws.inventory import NotActionableError
from actions.base import Call, CallResult, Outcome, Params

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import NetworkInterfaceTypeDef

TAG = "smartcloudops:quarantined"
PERMISSIONS = (
    "ec2:CreateSnapshot",
    "ec2:CreateTags",
    "ec2:DescribeInstances",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSnapshots",
    "ec2:DescribeVolumes",
    "ec2:ModifyNetworkInterfaceAttribute",
)
RELEASING = (
    "ec2:DeleteTags",
    "ec2:DescribeInstances",
    "ec2:DescribeNetworkInterfaces",
    "ec2:ModifyNetworkInterfaceAttribute",
)
GroupId = Annotated[str, StringConstraints(pattern=r"^sg-(?:[0-9a-f]{8}|[0-9a-f]{17})$")]


class Isolation(Params):
    """`security_group` has no rules, and lies in the instance's VPC."""

    security_group: GroupId
    snapshot: bool = True


def groups(call: Call) -> dict[str, list[str]]:
    """Security groups by network interface of the instance."""
    return {
        one.get("NetworkInterfaceId", ""): sorted(
            group.get("GroupId", "") for group in one.get("Groups", [])
        )
        for one in _interfaces(call)
    }


def check(call: Call) -> None:
    """Raises NotActionableError where the security group would not isolate the instance."""
    wanted = call.params["security_group"]
    answer = call.aws.ec2.describe_security_groups(
        Filters=[{"Name": "group-id", "Values": [wanted]}]
    )
    found = answer.get("SecurityGroups", [])
    if len(found) != 1:
        raise NotActionableError(f"the security group {wanted} does not exist")
    if found[0].get("IpPermissions"):
        raise NotActionableError(f"the security group {wanted} lets something in")
    # A new one lets everything out.
    if found[0].get("IpPermissionsEgress"):
        raise NotActionableError(f"the security group {wanted} lets something out")
    # Found out when it is assigned, the instance would be tagged and still be reached.
    if any(one.get("VpcId") != found[0].get("VpcId") for one in _interfaces(call)):
        raise NotActionableError(f"the security group {wanted} lies in another VPC")


def isolated(call: Call) -> bool:
    """Whether every interface is behind the isolating group alone."""
    found = groups(call)
    return bool(found) and all(one == [call.params["security_group"]] for one in found.values())


def isolate(call: Call) -> None:
    """Tag it, keep its disks, and cut it off; each safe to repeat."""
    tags = [{"Key": TAG, "Value": call.token}]
    call.aws.ec2.create_tags(Resources=[call.target], Tags=tags)  # type: ignore[arg-type] # it fits
    if call.params.get("snapshot", True):
        _keep_disks(call)
    assign(call, {one: [call.params["security_group"]] for one in groups(call)})


def assign(call: Call, wanted: Mapping[str, Sequence[str]]) -> None:
    """Give interfaces their security groups."""
    for interface, ids in wanted.items():
        call.aws.ec2.modify_network_interface_attribute(
            NetworkInterfaceId=interface, Groups=list(ids)
        )


def reconciled(call: Call) -> CallResult:
    if isolated(call):
        return CallResult(Outcome.CHANGED)
    same = groups(call) == call.before["groups"]
    return CallResult(Outcome.FAILED if same else Outcome.UNKNOWN)


def _interfaces(call: Call) -> "list[NetworkInterfaceTypeDef]":
    answer = call.aws.ec2.describe_network_interfaces(
        Filters=[{"Name": "attachment.instance-id", "Values": [call.target]}]
    )
    return answer.get("NetworkInterfaces", [])


def _keep_disks(call: Call) -> None:
    """A snapshot of each disk, once for this step."""
    volumes = call.aws.ec2.describe_volumes(
        Filters=[{"Name": "attachment.instance-id", "Values": [call.target]}]
    ).get("Volumes", [])
    kept = call.aws.ec2.describe_snapshots(
        OwnerIds=["self"], Filters=[{"Name": f"tag:{TAG}", "Values": [call.token]}]
    ).get("Snapshots", [])
    done = {one.get("VolumeId") for one in kept}
    for volume in volumes:
        if volume.get("VolumeId") not in done:
            call.aws.ec2_once.create_snapshot(
                VolumeId=volume.get("VolumeId", ""),
                Description=f"{call.target} quarantined by {call.token}",
                TagSpecifications=[
                    {"ResourceType": "snapshot", "Tags": [{"Key": TAG, "Value": call.token}]}
                ],
            )
