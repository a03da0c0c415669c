"""EBS: volumes and their snapshots. They belong to EC2's API."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from demo.aws.core import Core
from demo.aws.listing import matches, page
from demo.aws.world import AwsError


@dataclass
class Volumes:
    """Requests and answers as EC2's API reference has them."""

    core: Core

    def describe_volumes(self, request: Mapping[str, Any]) -> dict[str, Any]:
        volumes = [
            {"VolumeId": volume, "Attachments": [{"InstanceId": instance.id}]}
            for instance in self.core.world.instances.values()
            for volume in instance.volumes
            if matches(request.get("Filters", ()), {"attachment.instance-id": instance.id})
        ]
        return {"Volumes": volumes}

    def describe_volume_status(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """An impaired volume may hold inconsistent data: its I/O is disabled."""
        statuses = [
            {
                "VolumeId": volume,
                "AvailabilityZone": instance.az,
                "VolumeStatus": {"Status": status},
            }
            for instance in self.core.world.instances.values()
            for volume in instance.volumes
            for status in ["impaired" if volume in self.core.world.impaired_volumes else "ok"]
            if matches(request.get("Filters", ()), {"volume-status.status": status})
        ]
        statuses, more = page(statuses, request, len(statuses) + 1)
        return {"VolumeStatuses": statuses, **more}

    def create_snapshot(self, request: Mapping[str, Any]) -> dict[str, Any]:
        volumes = {v for instance in self.core.world.instances.values() for v in instance.volumes}
        if request["VolumeId"] not in volumes:
            message = f"The volume '{request['VolumeId']}' does not exist."
            raise AwsError("InvalidVolume.NotFound", message)
        tags = [tag for given in request.get("TagSpecifications", ()) for tag in given["Tags"]]
        snapshot = {
            "SnapshotId": self.core.new_id("snap"),
            "VolumeId": request["VolumeId"],
            "Description": request.get("Description", ""),
            "State": "pending",
            "Tags": tags,
        }
        self.core.world.snapshots.append(snapshot)
        return snapshot

    def describe_snapshots(self, request: Mapping[str, Any]) -> dict[str, Any]:
        snapshots = [
            snapshot
            for snapshot in self.core.world.snapshots
            if matches(
                request.get("Filters", ()),
                {f"tag:{tag['Key']}": tag["Value"] for tag in snapshot["Tags"]},
            )
        ]
        return {"Snapshots": snapshots}
