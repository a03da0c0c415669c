"""EC2: instances and their tags."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from demo.aws.core import Core, moment
from demo.aws.listing import matches, page
from demo.aws.world import VPC, AwsError, Instance, as_tags, zones_of

_STATES = {
    "pending": 0,
    "running": 16,
    "shutting-down": 32,
    "terminated": 48,
    "stopping": 64,
    "stopped": 80,
}
_UNFILTERED = 1_000


@dataclass
class Instances:
    """Requests and answers as EC2's API reference has them.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/
    """

    core: Core

    def describe_instances(self, request: Mapping[str, Any]) -> dict[str, Any]:
        wanted = request.get("InstanceIds")
        for instance_id in wanted or ():
            self.core.instance(instance_id)
        filters = request.get("Filters", ())
        found = [
            _described(instance)
            for instance in self.core.world.instances.values()
            if (not wanted or instance.id in wanted) and matches(filters, _fields(instance))
        ]
        found, more = page(found, request, _UNFILTERED)
        reservations = [
            {
                "ReservationId": "r-0123456789abcdef0",
                "OwnerId": self.core.world.account,
                "Instances": [instance],
            }
            for instance in found
        ]
        return {"Reservations": reservations, **more}

    def describe_availability_zones(self, request: Mapping[str, Any]) -> dict[str, Any]:
        region = self.core.world.region
        names = zones_of(region)
        zones = [
            {"ZoneName": zone, "ZoneId": f"use1-az{number}", "RegionName": region}
            for number, zone in enumerate(names, 1)
            if zone in request.get("ZoneNames", names)
        ]
        return {"AvailabilityZones": zones}

    def describe_instance_attribute(self, request: Mapping[str, Any]) -> dict[str, Any]:
        instance = self.core.instance(request["InstanceId"])
        return {
            "InstanceId": instance.id,
            "DisableApiTermination": {"Value": instance.protected},
            "DisableApiStop": {"Value": instance.stop_protected},
        }

    def describe_spot_instance_requests(self, request: Mapping[str, Any]) -> dict[str, Any]:
        found = [
            {
                "SpotInstanceRequestId": f"sir-{instance.id[-8:]}",
                "InstanceId": instance.id,
                "State": "active",
                "Type": "one-time",
                "Status": {"Code": instance.spot_code},
            }
            for instance in self.core.world.instances.values()
            if instance.one_time_spot and matches(request.get("Filters", ()), _fields(instance))
        ]
        return {"SpotInstanceRequests": found}

    def reboot_instances(self, request: Mapping[str, Any]) -> None:
        """A system that does not shut down goes on as it is until EC2 resets it."""
        for instance in map(self.core.instance, request["InstanceIds"]):
            # "Requests to reboot terminated instances are ignored."
            if instance.state == "terminated":
                continue
            if instance.state != "running":
                raise _incorrect(instance, "'running'")
            if instance.hung or self.core.often(self.core.hardness.hangs):
                self.core.after(self.core.timings.shutdown_s, self._reset(instance.id))
            else:
                self.core.boot(instance, self.core.timings.boot_s)

    def stop_instances(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Refused under stop protection and for one-time Spot Instances.

        https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-stop-protection.html
        https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/using-spot-instances-request.html
        """
        instances = list(map(self.core.instance, request["InstanceIds"]))
        for instance in instances:
            if instance.stop_protected:
                raise AwsError(
                    "OperationNotPermitted",
                    f"The instance '{instance.id}' may not be stopped. Modify its 'disableApiStop' "
                    "instance attribute and try again.",
                )
            if instance.root != "ebs":
                raise AwsError(
                    "UnsupportedOperation",
                    f"The instance '{instance.id}' does not have an 'ebs' root device type so it "
                    "cannot be stopped.",
                )
            if instance.one_time_spot:
                raise AwsError(
                    "UnsupportedOperation",
                    f"You can't stop the Spot Instance '{instance.id}' because it is associated "
                    "with a one-time Spot Instance request.",
                )
            if instance.state not in {"pending", "running", "stopping", "stopped"}:
                raise _incorrect(instance, "able to stop")
        for instance in instances:
            if instance.state in {"pending", "running"}:
                instance.state_reason = "Client.UserInitiatedShutdown"
        changes = [
            self._change(instance, "stopping", "stopped", self.core.timings.stop_s)
            for instance in instances
        ]
        return {"StoppingInstances": changes}

    def start_instances(self, request: Mapping[str, Any]) -> dict[str, Any]:
        instances = list(map(self.core.instance, request["InstanceIds"]))
        for instance in instances:
            if instance.state not in {"stopped", "pending", "running"}:
                raise _incorrect(instance, "able to start")
        changes = []
        for instance in instances:
            if instance.state == "stopped":
                # A start moves the instance to another host.
                instance.impaired, instance.launched_at = "", self.core.now
                instance.state_reason = ""
                for event in instance.events:
                    event.completed = True
                self.core.boot(instance, self.core.timings.boot_s)
            changes.append(self._change(instance, "pending", "running", self.core.timings.start_s))
        return {"StartingInstances": changes}

    def terminate_instances(self, request: Mapping[str, Any]) -> dict[str, Any]:
        instances = list(map(self.core.instance, request["InstanceIds"]))
        for instance in instances:
            if instance.protected:
                raise AwsError(
                    "OperationNotPermitted",
                    f"The instance '{instance.id}' may not be terminated. Modify its "
                    "'disableApiTermination' instance attribute and try again.",
                )
        changes = [
            self._change(instance, "shutting-down", "terminated", self.core.timings.terminate_s)
            for instance in instances
        ]
        return {"TerminatingInstances": changes}

    def create_tags(self, request: Mapping[str, Any]) -> None:
        for instance in map(self.core.instance, request["Resources"]):
            instance.tags |= {tag["Key"]: tag.get("Value", "") for tag in request["Tags"]}

    def delete_tags(self, request: Mapping[str, Any]) -> None:
        """A value that is named must be the tag's own."""
        for instance in map(self.core.instance, request["Resources"]):
            for tag in request["Tags"]:
                if tag.get("Value", instance.tags.get(tag["Key"])) == instance.tags.get(tag["Key"]):
                    instance.tags.pop(tag["Key"], None)

    def _change(self, instance: Instance, by: str, to: str, seconds: float) -> dict[str, Any]:
        before = instance.state
        if before not in {by, to}:
            instance.state = by
            self.core.after(seconds, self._reach(instance.id, by, to))
        return {
            "InstanceId": instance.id,
            "PreviousState": _state(before),
            "CurrentState": _state(instance.state),
        }

    def _reach(self, instance_id: str, by: str, to: str) -> Callable[[], None]:
        def reach() -> None:
            instance = self.core.world.instances[instance_id]
            if instance.state == by:
                instance.state = to

        return reach

    def _reset(self, instance_id: str) -> Callable[[], None]:
        def reset() -> None:
            instance = self.core.world.instances[instance_id]
            if instance.state == "running":
                self.core.boot(instance, self.core.timings.boot_s)

        return reset


def _incorrect(instance: Instance, wanted: str) -> AwsError:
    message = f"The instance '{instance.id}' is {instance.state}, and not {wanted}."
    return AwsError("IncorrectInstanceState", message)


def _state(name: str) -> dict[str, Any]:
    return {"Code": _STATES[name], "Name": name}


def _fields(instance: Instance) -> dict[str, str]:
    return {
        "instance-id": instance.id,
        "instance-state-name": instance.state,
        "private-ip-address": instance.address,
        "private-dns-name": _private_dns(instance),
        # No instance has a public address.
        "ip-address": "",
        "dns-name": "",
        "network-interface.ipv6-addresses.ipv6-address": "",
        "network-interface.addresses.private-ip-address": instance.address,
        **{f"tag:{key}": value for key, value in instance.tags.items()},
    }


def _private_dns(instance: Instance) -> str:
    return f"ip-{instance.address.replace('.', '-')}.ec2.internal"


def _described(instance: Instance) -> dict[str, Any]:
    return {
        "InstanceId": instance.id,
        "ImageId": "ami-0123456789abcdef0",
        "InstanceType": "c6i.large",
        "State": _state(instance.state),
        "LaunchTime": moment(instance.launched_at),
        "Placement": {
            "AvailabilityZone": instance.az,
            **({"Affinity": instance.affinity} if instance.affinity else {}),
        },
        "PrivateIpAddress": instance.address,
        "PrivateDnsName": _private_dns(instance),
        # Prometheus' discovery crashes without the subnet of an instance in a VPC.
        "VpcId": VPC,
        "SubnetId": f"subnet-{'abc'.index(instance.az[-1]):017x}",
        "Architecture": "x86_64",
        "RootDeviceType": instance.root,
        "MaintenanceOptions": {"AutoRecovery": instance.auto_recovery},
        **({"InstanceLifecycle": "spot"} if instance.one_time_spot else {}),
        **({"StateReason": {"Code": instance.state_reason}} if instance.state_reason else {}),
        "Tags": as_tags(instance.tags),
    }
