"""Instances, read by id or address; an answer about another resource is refused."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from actions.aws.client_set import Aws
from actions.aws.tags import GROUP_TAG, OPT_IN_TAG, labels_of, read_tags
from actions.aws.target_errors import NotActionableError, TargetGoneError, require_complete

if TYPE_CHECKING:
    from types_boto3_ec2.type_defs import (
        DescribeInstancesRequestTypeDef,
        FilterTypeDef,
        InstanceTypeDef,
        SpotInstanceRequestTypeDef,
    )

INSTANCE_ID = re.compile(r"i-(?:[0-9a-f]{8}|[0-9a-f]{17})")
# The region at the start of the name of a zone or a Local Zone ("us-west-2-lax-1a").
_REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-\d+")
# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StateReason.html
_BY_CALL = frozenset({"Client.UserInitiatedHibernate", "Client.UserInitiatedShutdown"})
# States of an instance that was not terminated.
_LIVE = ["pending", "running", "stopping", "stopped"]


@dataclass(frozen=True, kw_only=True)
class Instance:
    id: str
    state: str
    launched_at: float
    group: str | None
    az: str
    tags: dict[str, str]
    account: str = ""
    # Its private IPv4 and its IPv6 addresses, of all interfaces.
    addresses: frozenset[str] = frozenset()
    # Its public address, and its private and public DNS names.
    names: frozenset[str] = frozenset()
    vpc: str = ""
    subnet: str = ""
    # "ebs" or "instance-store"; and whether EC2 recovers it by itself, "default" or "disabled".
    root_device: str = "ebs"
    auto_recovery: str = "default"
    is_spot: bool = False
    # Whether it was stopped, or hibernated, through EC2's API.
    stopped_by_call: bool = False
    # Whether it always starts on the same Dedicated Host.
    bound_to_host: bool = False

    @property
    def labels(self) -> Mapping[str, str]:
        """The instance's labels, as its metrics have them, without empty ones."""
        return labels_of(
            self.tags,
            instance_id=self.id,
            asg=self.group or "",
            az=self.az,
            region=self.place["region"],
            account=self.account,
        )

    @property
    def place(self) -> Mapping[str, str]:
        """Where it is: `region`, `az`, `account`, `vpc` and `subnet`."""
        region = _REGION.match(self.az)
        return {
            "region": region[0] if region else "",
            "az": self.az,
            "account": self.account,
            "vpc": self.vpc,
            "subnet": self.subnet,
        }


def read_instance(aws: Aws, instance_id: str) -> Instance:
    """The instance with this id.

    Raises NotActionableError where it does not exist; botocore's errors pass through.
    """
    require_id(instance_id)
    if (instance := read_instances(aws, [instance_id]).get(instance_id)) is None:
        raise TargetGoneError(f"instance {instance_id} does not exist")
    return instance


def require_id(instance_id: str) -> None:
    """Raises NotActionableError where the text is no id."""
    if not INSTANCE_ID.fullmatch(instance_id):
        raise NotActionableError(
            f"{instance_id!r} is not an instance id: expected i- and hex digits"
        )


def read_instances(aws: Aws, ids: Sequence[str]) -> Mapping[str, Instance]:
    """The existing ones of these instances, at most 200, by id; botocore's errors pass through.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html
    """
    # Only valid ids are sent: an empty filter would match all instances.
    for instance_id in ids:
        require_id(instance_id)
    if not ids:
        return {}
    found = {instance.id: instance for instance in _described(aws, "instance-id", list(ids))}
    return {instance_id: found[instance_id] for instance_id in ids if instance_id in found}


def find_named(aws: Aws, name: str, value: str) -> Sequence[Instance]:
    """The live instances with this id, address, DNS name or tag, by EC2's filter `name`."""
    # EC2 reads * and ? in a filter as wildcards.
    if not value or set(value) & set("*?"):
        return []
    found = find_live(aws, name, value)
    if name.startswith("tag:"):
        return [instance for instance in found if instance.tags.get(name[4:]) == value]
    return [
        instance
        for instance in found
        if value in {instance.id, *instance.addresses, *instance.names}
    ]


def find_by_addresses(aws: Aws, addresses: Sequence[str]) -> Sequence[Instance]:
    """The live instances with one of these addresses on any interface; at most 200 addresses.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html
    """
    by_filter = {
        "network-interface.addresses.private-ip-address": [a for a in addresses if ":" not in a],
        "network-interface.ipv6-addresses.ipv6-address": [a for a in addresses if ":" in a],
    }
    return [
        instance
        for name, values in by_filter.items()
        if values
        for instance in _described(aws, name, values, _LIVE)
    ]


def is_one_time_spot(aws: Aws, instance_id: str) -> bool:
    """Whether the Spot Instance is of a one-time request; botocore's errors pass through.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/interrupted-spot-instances.html
    """
    requests = _spot_requests(aws, instance_id)
    return not any(request.get("Type") == "persistent" for request in requests)


def read_spot_codes(aws: Aws, instance_id: str) -> frozenset[str]:
    """The status codes of the Spot Instance's requests; botocore's errors pass through.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-request-status.html
    """
    requests = _spot_requests(aws, instance_id)
    return frozenset(request.get("Status", {}).get("Code", "") for request in requests)


def _spot_requests(aws: Aws, instance_id: str) -> "list[SpotInstanceRequestTypeDef]":
    pages = aws.ec2.get_paginator("describe_spot_instance_requests").paginate(
        Filters=[{"Name": "instance-id", "Values": [instance_id]}]
    )
    return [
        request
        for page in pages
        for request in page["SpotInstanceRequests"]
        if request.get("InstanceId") == instance_id
    ]


def read_standalone(aws: Aws) -> Sequence[Instance]:
    """The opted-in live instances outside Auto Scaling groups. botocore's errors pass through."""
    instances = find_live(aws, f"tag:{aws.opt_in_tag}", "true")
    return [
        instance
        for instance in instances
        if instance.group is None and instance.tags.get(OPT_IN_TAG) == "true"
    ]


def ping(aws: Aws) -> None:
    """The least read that tells whether AWS answers here. botocore's errors pass through.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html
    """
    nobody: FilterTypeDef = {"Name": "instance-id", "Values": ["i-00000000000000000"]}
    aws.ec2.describe_instances(Filters=[nobody], MaxResults=5)


def find_live(aws: Aws, name: str, value: str) -> Sequence[Instance]:
    """The live instances for which EC2's filter `name` has this value; botocore's errors pass."""
    return _described(aws, name, [value], _LIVE)


def _described(
    aws: Aws, name: str, values: Sequence[str], states: Sequence[str] = ()
) -> list[Instance]:
    instances: list[Instance] = []
    query: DescribeInstancesRequestTypeDef = {"Filters": [{"Name": name, "Values": values}]}
    if states:
        in_state: FilterTypeDef = {"Name": "instance-state-name", "Values": states}
        query["Filters"] = [*query["Filters"], in_state]
    while True:
        answer = aws.ec2.describe_instances(**query)
        instances += [
            _instance(instance, reservation.get("OwnerId", ""), aws.opt_in_tag)
            for reservation in answer["Reservations"]
            for instance in reservation.get("Instances", [])
        ]
        if not answer.get("NextToken"):
            return instances
        query["NextToken"] = answer["NextToken"]


def _instance(answer: "InstanceTypeDef", account: str, opt_in_tag: str) -> Instance:
    # AWS leaves them out where the instance has none.
    tags = read_tags(answer.get("Tags", []), opt_in_tag)
    with require_complete(answer["InstanceId"]):
        return Instance(
            id=answer["InstanceId"],
            state=answer["State"]["Name"],
            launched_at=answer["LaunchTime"].timestamp(),
            group=tags.get(GROUP_TAG),
            az=answer["Placement"]["AvailabilityZone"],
            tags=tags,
            account=account,
            addresses=frozenset(_addresses(answer)),
            names=frozenset(
                (
                    answer.get("PublicIpAddress", ""),
                    answer.get("PrivateDnsName", ""),
                    answer.get("PublicDnsName", ""),
                )
            ),
            vpc=answer.get("VpcId", ""),
            subnet=answer.get("SubnetId", ""),
            root_device=answer.get("RootDeviceType", "ebs"),
            auto_recovery=answer.get("MaintenanceOptions", {}).get("AutoRecovery", "default"),
            is_spot=answer.get("InstanceLifecycle") == "spot",
            bound_to_host=answer["Placement"].get("Affinity") == "host",
            stopped_by_call=answer.get("StateReason", {}).get("Code", "") in _BY_CALL,
        )


def _addresses(answer: "InstanceTypeDef") -> Iterator[str]:
    yield from filter(None, [answer.get("PrivateIpAddress")])
    for interface in answer.get("NetworkInterfaces", []):
        for address in interface.get("PrivateIpAddresses", []):
            yield address.get("PrivateIpAddress", "")
        for address_v6 in interface.get("Ipv6Addresses", []):
            yield address_v6.get("Ipv6Address", "")
