"""Who was there at a time: the instances and groups that `up` names, and what is assumed of them.

`up` is 1 for each target whose scrape succeeds, else 0:
https://prometheus.io/docs/concepts/jobs_instances/
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from actions.aws.client_set import Aws
from actions.aws.groups import GROUP_NAME, read_group_instances, read_groups
from actions.aws.instances import INSTANCE_ID, read_standalone
from demo.aws.world import GROUP_TAG, REGION, Group, Instance, Member, World, opted_in
from receiver.evidence.prometheus.answers import PrometheusError
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.targets.mapping import TargetMapping
from receiver.evidence.targets.readings import Name, read_name
from receiver.runtime.rfc3339 import DAY_S

_LAUNCHED_BEFORE_S = DAY_S
_ZONES = ("az", "availability_zone", "zone")
# EC2's own names: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/hostname-types.html
_IP_NAME = re.compile(r"ip-(\d{1,3}-\d{1,3}-\d{1,3}-\d{1,3})\.")


@dataclass(frozen=True, kw_only=True)
class Known:
    """What AWS tells today: (minimum, maximum) by group; (id, group) by an instance's names.

    An instance is named by its id, its addresses and its DNS names.
    """

    limits: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    hosts: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def read_known(aws: Aws) -> Known:
    """Raises botocore's errors."""
    groups = read_groups(aws)
    live = [one for group in groups for one in read_group_instances(aws, group.name)]
    hosts = {
        name: (one.id, one.group or "")
        for one in (*live, *read_standalone(aws))
        for name in (one.id, *one.addresses, *one.names)
    }
    limits = {group.name: (group.minimum, group.maximum) for group in groups}
    return Known(limits=limits, hosts=hosts)


@dataclass(kw_only=True)
class PastFleet:
    """Reads the fleet from Prometheus, with what is `known` of it today."""

    prometheus: Prometheus
    mapping: TargetMapping
    known: Known

    def read(self, at: float, alerts: Iterable[Mapping[str, str]]) -> "Fleet":
        """The fleet at a time: who `up` names, and who the alerts name."""
        fleet = Fleet(world=World(), at=at)
        try:
            samples = self.prometheus.instant_query(self._query(), at=at)
        except PrometheusError:
            samples = ()
        for sample in samples:
            self._add(fleet, sample.labels, up=sample.value > 0)
        for labels in alerts:
            self._add(fleet, labels, up=None)
        for group in fleet.world.groups.values():
            size = len(group.members)
            minimum, maximum = self.known.limits.get(group.name, (1, 2 * size))
            group.minimum, group.maximum = min(minimum, size), max(maximum, size)
            group.desired = size
        return fleet

    def _query(self) -> str:
        names = [one.label for one in self.mapping.instances]
        names += [*self.mapping.groups, *(where.label for where in self.mapping.where)]
        return f"max by ({','.join(dict.fromkeys(names))}) (up)"

    def _add(self, fleet: "Fleet", labels: Mapping[str, str], *, up: bool | None) -> None:
        world = fleet.world
        instance_id, address, group_name = self._named(labels)
        group = None
        if group_name:
            made = Group(name=group_name, minimum=0, maximum=0, desired=0)
            group = world.groups.setdefault(group_name, made)
        if not instance_id:
            return
        if instance_id not in world.instances:
            az = next((labels[name] for name in _ZONES if labels.get(name)), f"{REGION}a")
            world.instances[instance_id] = Instance(
                instance_id,
                az,
                launched_at=fleet.at - _LAUNCHED_BEFORE_S,
                tags=opted_in() | ({GROUP_TAG: group_name} if group_name else {}),
                address=address,
            )
        if group is not None and instance_id not in group.members:
            group.members[instance_id] = Member(instance_id, world.instances[instance_id].az)
        if up is not None:
            fleet.up[instance_id] = fleet.up.get(instance_id, False) or up

    def _named(self, labels: Mapping[str, str]) -> tuple[str, str, str]:
        """The instance's id, address and group, each empty where nothing tells.

        An address that AWS does not know today gets an id of its own.
        """
        groups = (labels.get(name, "") for name in self.mapping.groups)
        group = next((name for name in groups if GROUP_NAME.fullmatch(name)), "")
        for one in self.mapping.instances:
            value = labels.get(one.label, "")
            names = [read_name(value, reading) for reading in one.readings if value]
            for name in filter(None, names):
                address = _address_of(name)
                known, of_group = self.known.hosts.get(address or name.value, ("", ""))
                if known or INSTANCE_ID.fullmatch(name.value):
                    return known or name.value, address, group or of_group
                if address:
                    return f"i-{hashlib.sha256(address.encode()).hexdigest()[:17]}", address, group
            if any(names):
                break
        return "", "", group


def _address_of(name: Name) -> str:
    """The private address that a name is, or is made of; empty for another name."""
    if name.filter == "private-ip-address":
        return name.value
    made = _IP_NAME.match(name.value) if name.filter == "private-dns-name" else None
    return made[1].replace("-", ".") if made else ""


@dataclass(kw_only=True)
class Fleet:
    """The world at a time; `up` says of each instance whether it was scraped."""

    world: World
    at: float
    up: dict[str, bool] = field(default_factory=dict)

    def others_in_service(self, group: str, target: str) -> tuple[int, int]:
        """How many other members of the group there are, and how many of them were scraped."""
        members = self.world.groups[group].members if group in self.world.groups else {}
        others = [member for member in members if member != target]
        return len(others), sum(self.up.get(member, True) for member in others)
