"""VPC: network interfaces and security groups. They belong to EC2's API."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from demo.aws.core import Core
from demo.aws.listing import matches
from demo.aws.world import VPC, AwsError, Instance


@dataclass
class Networks:
    """Requests and answers as EC2's API reference has them."""

    core: Core

    def describe_network_interfaces(self, request: Mapping[str, Any]) -> dict[str, Any]:
        interfaces = [
            {
                "NetworkInterfaceId": interface,
                "VpcId": VPC,
                "Groups": [{"GroupId": group, "GroupName": group} for group in groups],
                "Attachment": {"InstanceId": instance.id, "Status": "attached"},
            }
            for instance in self.core.world.instances.values()
            for interface, groups in instance.interfaces.items()
            if matches(request.get("Filters", ()), {"attachment.instance-id": instance.id})
        ]
        return {"NetworkInterfaces": interfaces}

    def modify_network_interface_attribute(self, request: Mapping[str, Any]) -> None:
        """A tracked connection goes on when its rule goes; one that is not tracked ends at once.

        https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/security-group-connection-tracking.html
        """
        wanted = request["NetworkInterfaceId"]
        for group in request["Groups"]:
            if group not in self.core.world.security_groups:
                raise AwsError(
                    "InvalidGroup.NotFound", f"The security group '{group}' does not exist"
                )
        for instance in self.core.world.instances.values():
            if wanted in instance.managed:
                message = f"You do not have permission to access the resource '{wanted}'"
                raise AwsError("OperationNotPermitted", message)
            if wanted in instance.interfaces:
                instance.interfaces[wanted] = list(request["Groups"])
                self._track(instance, wanted)
                return
        message = f"The networkInterface ID '{wanted}' does not exist"
        raise AwsError("InvalidNetworkInterfaceID.NotFound", message)

    def _track(self, instance: Instance, interface: str) -> None:
        if interface not in instance.tracked:
            return
        groups = self.core.world.security_groups
        through = [groups[name] for name in instance.interfaces[interface]]
        if through and not any(group.tracks for group in through):
            instance.tracked[interface] = False
        elif not instance.tracked[interface] and not any(group.ingress for group in through):
            del instance.tracked[interface]

    def describe_security_groups(self, request: Mapping[str, Any]) -> dict[str, Any]:
        groups = [
            {
                "GroupId": group.id,
                "GroupName": group.name or group.id,
                "VpcId": group.vpc,
                "IpPermissions": group.ingress,
                "IpPermissionsEgress": group.egress,
            }
            for group in self.core.world.security_groups.values()
            if matches(
                request.get("Filters", ()),
                {"group-id": group.id, "group-name": group.name or group.id, "vpc-id": group.vpc},
            )
        ]
        return {"SecurityGroups": groups}
