"""The state of the emulated AWS, as plain data that a test may read and set."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

REGION, ACCOUNT = "us-east-1", "123456789012"
ZONES = (f"{REGION}a", f"{REGION}b", f"{REGION}c")
VPC, TEMPLATE = "vpc-0123456789abcdef0", "lt-0123456789abcdef0"
GROUP_TAG = "aws:autoscaling:groupName"
USUAL_SECURITY_GROUP = "sg-00000001"
# Lifecycle states that count towards the desired capacity.
COUNTED = frozenset({"InService", "Pending"})


class AwsError(Exception):
    """A refusal; `code` as AWS names it."""

    def __init__(self, code: str, message: str = "", status: int = 400) -> None:
        super().__init__(message or code)
        self.code, self.status = code, status


def opted_in() -> dict[str, str]:
    return {"smartcloudops:remediate": "true"}


@dataclass
class HostEvent:
    """A scheduled event of an instance's host; it begins at `at` at the earliest.

    `lasts_s`: EC2 tells its end; 0 for the kinds that have none.
    """

    id: str
    code: str
    at: float
    lasts_s: float = 0.0
    completed: bool = False


@dataclass
class Instance:
    """`up_at` is when its system answers, `boots` how often it was booted.

    `managed` are interfaces that an AWS service manages; `tracked` are those with an open
    connection, by whether a security group tracks it. `impaired` is what its status checks find:
    "system" (the hardware), "instance" or "ebs". `root` is the kind of its root device. `agent` is
    the SSM agent's ping status, empty where none is registered. EC2 has the latest console output
    of a `nitro` instance only. `state_reason` is the code of its last stop,
    `affinity` "host" if it is bound to its Dedicated Host.
    """

    id: str
    az: str = ZONES[0]
    state: str = "running"
    launched_at: float = 0.0
    tags: dict[str, str] = field(default_factory=opted_in)
    address: str = ""
    protected: bool = False
    stop_protected: bool = False
    one_time_spot: bool = False
    spot_code: str = "fulfilled"
    interfaces: dict[str, list[str]] = field(default_factory=dict)
    managed: set[str] = field(default_factory=set)
    tracked: dict[str, bool] = field(default_factory=dict)
    volumes: list[str] = field(default_factory=list)
    agent: str = "Online"
    platform: str = "Linux"
    impaired: str = ""
    impaired_at: float = 0.0
    auto_recovery: str = "default"
    root: str = "ebs"
    events: list[HostEvent] = field(default_factory=list)
    hung: bool = False
    up_at: float = 0.0
    boots: int = 0
    nitro: bool = True
    state_reason: str = ""
    affinity: str = ""

    def __post_init__(self) -> None:
        suffix = self.id.removeprefix("i-")
        number = int(suffix, 16) + 1
        self.address = self.address or f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        self.interfaces = self.interfaces or {f"eni-{suffix}": [USUAL_SECURITY_GROUP]}
        self.volumes = self.volumes or [f"vol-{suffix}"]


@dataclass
class Member:
    """An instance as its group sees it. `weight` is its share of a capacity that has units."""

    id: str
    az: str = ZONES[0]
    lifecycle: str = "InService"
    health: str = "Healthy"
    template: str = TEMPLATE
    version: str = "1"
    weight: int | None = None
    protected: bool = False
    in_service_at: float = 0.0

    @property
    def units(self) -> int:
        return self.weight or 1


@dataclass
class Group:
    """`checks` is its health check type, `target_groups` are ARNs, `refreshes` latest first.

    `classic` are the names of its classic load balancers, `lattice` its lattice target groups,
    `upkeep` its maintenance policy, `warm` the ids in its warm pool, None without one; the pool
    `reuses` what is scaled in. Launches fail for `launch_error`. `refreshed_to` is the launch
    template, with its version, of a refresh that has a desired configuration.
    """

    name: str
    minimum: int
    maximum: int
    desired: int
    members: dict[str, Member] = field(default_factory=dict)
    target_groups: list[str] = field(default_factory=list)
    classic: list[str] = field(default_factory=list)
    lattice: list[str] = field(default_factory=list)
    suspended: set[str] = field(default_factory=set)
    tags: dict[str, str] = field(default_factory=opted_in)
    checks: str = "EC2"
    grace_s: float = 0.0
    zones: tuple[str, ...] = ZONES
    template: str = TEMPLATE
    version: str = "1"
    mixed: bool = False
    warm: list[str] | None = None
    reuses: bool = False
    upkeep: dict[str, int] = field(default_factory=dict)
    hooks: list[dict[str, Any]] = field(default_factory=list)
    launch_error: str = ""
    refreshed_to: tuple[str, str] | None = None
    weight: int | None = None
    status: str = ""
    refreshes: list[dict[str, Any]] = field(default_factory=list)
    activities: list[dict[str, Any]] = field(default_factory=list)

    @property
    def launches(self) -> tuple[str, str]:
        """The launch template, and its version, of new members."""
        return self.refreshed_to or (self.template, self.version)

    def capacity(self, *states: str) -> int:
        """The units of the members in these lifecycle states; by default those that count."""
        wanted = states or COUNTED
        return sum(member.units for member in self.members.values() if member.lifecycle in wanted)

    def by_zone(self) -> dict[str, list[Member]]:
        """The members that count, by zone, empty zones included."""
        zones: dict[str, list[Member]] = {zone: [] for zone in self.zones}
        for member in self.members.values():
            if member.lifecycle in COUNTED:
                zones.setdefault(member.az, []).append(member)
        return zones


@dataclass
class Target:
    """A registration by (id, port); `draining_until` is set once it is deregistered."""

    id: str
    port: int
    since: float = 0.0
    draining_until: float | None = None


@dataclass
class TargetGroup:
    """`delay_s` is its deregistration delay; `used`: a listener forwards to it.

    `kind` is its target type, "instance" or "ip", `balancers` are ARNs. A test sets health
    `states`, by instance, and `attributes`, by key.
    """

    arn: str
    port: int = 8080
    delay_s: float = 300.0
    used: bool = True
    checked: bool = True
    kind: str = "instance"
    balancers: list[str] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.arn.split("/")[1]


@dataclass
class SecurityGroup:
    """One without a name is found by its id under both."""

    id: str
    vpc: str = VPC
    name: str = ""
    ingress: list[dict[str, Any]] = field(default_factory=list)
    egress: list[dict[str, Any]] = field(default_factory=list)

    @property
    def tracks(self) -> bool:
        """Not where a rule lets all traffic of all addresses through, and one back."""
        return not all(
            any({"CidrIp": "0.0.0.0/0"} in rule.get("IpRanges", []) for rule in rules)
            for rules in (self.ingress, self.egress)
        )


def _usual_security_groups() -> dict[str, SecurityGroup]:
    usual = SecurityGroup(USUAL_SECURITY_GROUP, ingress=[{"IpProtocol": "-1"}])
    return {usual.id: usual}


@dataclass
class ChangeCalendar:
    """A document of Systems Manager; its `events`, from and to, are the opposite of its default."""

    default_open: bool = True
    events: list[tuple[float, float]] = field(default_factory=list)


@dataclass
class World:
    """One region of one account; `shiftable` are ARNs of load balancers with zonal shift."""

    account: str = ACCOUNT
    region: str = REGION
    groups: dict[str, Group] = field(default_factory=dict)
    instances: dict[str, Instance] = field(default_factory=dict)
    target_groups: dict[str, TargetGroup] = field(default_factory=dict)
    security_groups: dict[str, SecurityGroup] = field(default_factory=_usual_security_groups)
    snapshots: list[dict[str, Any]] = field(default_factory=list)
    rules: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    commands: list[dict[str, Any]] = field(default_factory=list)
    sessions: list[dict[str, Any]] = field(default_factory=list)
    calendars: dict[str, ChangeCalendar] = field(default_factory=dict)
    impaired_volumes: set[str] = field(default_factory=set)
    published: list[dict[str, Any]] = field(default_factory=list)
    shiftable: set[str] = field(default_factory=set)
    shifts: list[dict[str, Any]] = field(default_factory=list)

    def add_group(self, group: Group, ids: Iterable[str], launched_at: float) -> list[str]:
        """Add a group whose members are these instances, spread over its zones; their ids."""
        made, tags = list(ids), {**group.tags, GROUP_TAG: group.name}
        for number, instance_id in enumerate(made):
            zone = group.zones[number % len(group.zones)]
            instance = Instance(instance_id, zone, launched_at=launched_at, tags=dict(tags))
            self.instances[instance_id] = instance
            group.members[instance_id] = Member(instance_id, zone, weight=group.weight)
        self.groups[group.name] = group
        self.attach(group, *group.target_groups)
        return made

    def attach(self, group: Group, *arns: str) -> None:
        """Make these the group's target groups, with all members as targets."""
        group.target_groups = list(arns)
        for arn in arns:
            target_group = self.target_groups.setdefault(arn, TargetGroup(arn))
            target_group.targets = [Target(member, target_group.port) for member in group.members]

    def group_of(self, instance_id: str) -> Group | None:
        return next((group for group in self.groups.values() if instance_id in group.members), None)


def zones_of(region: str) -> tuple[str, ...]:
    return tuple(f"{region}{letter}" for letter in "abc")


def target_group_arn(name: str) -> str:
    service = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}"
    return f"{service}:targetgroup/{name}/0123456789abcdef"


def as_tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
