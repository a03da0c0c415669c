"""Keeps the disks of a quarantined instance, as snapshots that bear the step's token."""

from actions.aws.tags import QUARANTINE_TAG
from actions.base import Call
from actions.catalog.ec2._attempts import Attempts


def keep_disks(call: Call, attempts: Attempts) -> None:
    """Take a snapshot of each disk, once for this step."""
    for volume in unkept_disks(call):
        attempts(lambda volume=volume: _keep(call, volume))  # type: ignore[misc] # mypy does not infer it


def _keep(call: Call, volume: str) -> object:
    return call.aws.ec2_once.create_snapshot(
        VolumeId=volume,
        Description=f"{call.target} quarantined by {call.token}",
        TagSpecifications=[
            {"ResourceType": "snapshot", "Tags": [{"Key": QUARANTINE_TAG, "Value": call.token}]}
        ],
    )


def unkept_disks(call: Call) -> list[str]:
    """The instance's volumes of which this step has no snapshot."""
    volumes = call.aws.ec2.get_paginator("describe_volumes").paginate(
        Filters=[{"Name": "attachment.instance-id", "Values": [call.target]}]
    )
    snapshots = call.aws.ec2.get_paginator("describe_snapshots").paginate(
        OwnerIds=["self"], Filters=[{"Name": f"tag:{QUARANTINE_TAG}", "Values": [call.token]}]
    )
    ids = [each.get("VolumeId", "") for page in volumes for each in page.get("Volumes", [])]
    kept = {each.get("VolumeId", "") for page in snapshots for each in page.get("Snapshots", [])}
    return [volume for volume in ids if volume not in kept]
