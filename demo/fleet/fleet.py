"""The simulated fleet: hosts that follow the emulated AWS, carry traffic and break.

The emulator's own state says which instances exist and when they were booted; the fleet reads it
after every call, and tells the emulator which hosts answer.
"""

import itertools
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from demo.aws.core import SteadyHosts
from demo.aws.emulator import Emulator
from demo.aws.world import GROUP_TAG, Group, Instance, TargetGroup, target_group_arn
from demo.fleet import history
from demo.fleet.faults import OF_GROUP, REPAIRS, ActiveFault, Fault, FaultError, parse_fault
from demo.fleet.member import NEVER, Member, new_host
from demo.fleet.node_exporter import Exporter, exposition
from demo.fleet.workload import CAPACITY, Host, usual_requests

GROUPS = ("web-asg", "api-asg")
MINIMUM, DESIRED, MAXIMUM = 4, 6, 12
_BATCH_S, _SURGE_S = 180.0, 1_800.0
# The age of the instances at the start.
_AGE_S = 20 * 86_400.0
# The traffic of a surge, as the number of members that it keeps fully busy.
_SURGE_MEMBERS = 6
_TICK_S = 0.5


@dataclass
class Fleet(SteadyHosts):
    """Two groups of six. Thread-safe. `speed` shortens jobs and faults."""

    aws: Emulator
    seed: int
    speed: float
    _births: Iterator[int] = field(default_factory=itertools.count, init=False)
    _members: dict[str, Member] = field(default_factory=dict, init=False)
    _surges: dict[str, float] = field(default_factory=dict, init=False)
    _past: tuple[Sequence[Host], history.PastSeries] = field(default=((), {}), init=False)
    _began: float = field(default=0.0, init=False)
    # Versions of groups whose service does not start.
    _bad: set[tuple[str, str]] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self.clock, self._lock = self.aws.core.clock, self.aws.lock
        self.aws.core.hosts = self
        chance = random.Random(self.seed)
        for name in GROUPS:
            service = name.removesuffix("-asg")
            group = Group(name, MINIMUM, MAXIMUM, DESIRED)
            group.tags |= {"Name": service, "service": service}
            arn = target_group_arn(service)
            delay_s = self.aws.core.timings.drain_s
            self.aws.world.target_groups[arn] = TargetGroup(arn, delay_s=delay_s)
            group.target_groups.append(arn)
            ids = [f"i-{chance.getrandbits(68):017x}" for _ in range(DESIRED)]
            self.aws.world.add_group(group, ids, self.clock() - _AGE_S)

    def run(self) -> None:
        """Call `tick` in a loop for ever."""
        while True:
            time.sleep(_TICK_S)
            self.tick()

    def tick(self) -> None:
        """Take over the emulator's instances, and simulate every host up to now."""
        with self._lock:
            self.aws.core.tick()
            now, instances = self.clock(), self._instances()
            for instance_id in self._members.keys() - instances.keys():
                del self._members[instance_id]
            for instance in instances.values():
                self._follow(instance, now)
            self._spread(now)
            for member in self._members.values():
                if member.answers(now):
                    member.exporter.advance(member.levels(now), now)
                else:
                    member.exporter.at = now

    def answers(self, instance: Instance, now: float) -> bool:
        member = self._members.get(instance.id)
        return super().answers(instance, now) if member is None else member.answers(now)

    def serves(self, instance: Instance, now: float) -> bool:
        member = self._members.get(instance.id)
        return super().serves(instance, now) if member is None else member.serves(now)

    def run_document(self, instance_id: str, document: str) -> bool:
        with self._lock:
            member = self._members.get(instance_id)
            if member is None or document not in REPAIRS or not member.answers(self.clock()):
                return False
            for fault in REPAIRS[document]:
                member.faults.pop(fault, None)
            return True

    def begin(self, now: float) -> None:
        """Simulate a past of the registered instances, and continue from its end."""
        with self._lock:
            instances = list(self._instances().values())
            hosts = [new_host(instance, self.seed, next(self._births)) for instance in instances]
            exporters, series = history.simulate_past(hosts, now)
            for instance, host in zip(instances, hosts, strict=True):
                self._members[instance.id] = Member(
                    host=host,
                    exporter=exporters[instance.id],
                    up_at=0.0,
                    launched_at=instance.launched_at,
                    speed=self.speed,
                )
            self._past, self._began = (hosts, series), now

    def host(self, instance_id: str) -> Host:
        """The random parameters of one instance."""
        return self._members[instance_id].host

    def history(self) -> Iterator[str]:
        """The past before `begin`, in OpenMetrics' text format."""
        hosts, series = self._past
        return history.openmetrics(hosts, series, self._began)

    def inject(self, target: str, name: str) -> None:
        """Inject a fault. Raises FaultError where the fault or the target does not exist."""
        with self._lock:
            fault = parse_fault(name)
            now = self.clock()
            if fault in OF_GROUP:
                if target not in {member.host.group for member in self._members.values()}:
                    raise FaultError(f"{fault} needs a group of the fleet: {target!r} is none")
                if fault is Fault.BAD_DEPLOY:
                    self._deploy(self.aws.world.groups[target])
                    return
                self._surges[target] = now + _SURGE_S
                self._apply_surges()
                return
            member = self._members.get(target)
            if member is None:
                raise FaultError(f"{fault} needs an instance of the fleet: {target!r} is none")
            if fault is Fault.HARDWARE_FAILURE:
                instance = self.aws.world.instances[target]
                instance.impaired, instance.impaired_at = "system", now
            lasts = _BATCH_S / self.speed if fault is Fault.BATCH_JOB else NEVER
            member.faults[fault] = ActiveFault(now, now + lasts)

    def repair(self, target: str | None) -> None:
        """Remove all faults of the target, or, if `target` is None, of every target."""
        with self._lock:
            for group in list(self._surges):
                if target in (None, group):
                    del self._surges[group]
            self._apply_surges()
            for instance_id, member in self._members.items():
                if target in (None, instance_id, member.host.group):
                    member.faults.clear()
                    self.aws.world.instances[instance_id].impaired = ""

    def metrics(self, instance_id: str) -> str | None:
        """The exporter's text; empty while the host is down, None if the host does not exist."""
        self.tick()
        with self._lock:
            now, member = self.clock(), self._members.get(instance_id)
            if member is None:
                return None
            if not member.answers(now):
                return ""
            return exposition(member.exporter.samples(member.levels(now)))

    def truth(self) -> Sequence[dict[str, Any]]:
        """The hosts' true state, independent of metrics."""
        self.tick()
        with self._lock:
            now = self.clock()
            return [member.truth(now) for member in self._members.values()]

    def _instances(self) -> dict[str, Instance]:
        """The instances of groups that are not terminated."""
        return {
            instance.id: instance
            for instance in self.aws.world.instances.values()
            if GROUP_TAG in instance.tags and instance.state != "terminated"
        }

    def _follow(self, instance: Instance, now: float) -> None:
        member = self._members.get(instance.id)
        if member is None:
            group = instance.tags[GROUP_TAG]
            member = Member(
                host=new_host(instance, self.seed, next(self._births)),
                exporter=Exporter(booted_at=now, at=now),
                up_at=now,
                launched_at=instance.launched_at,
                speed=self.speed,
                surge_until=self._surges.get(group, 0.0),
            )
            self._members[instance.id] = member
            of_group = self.aws.world.groups[group].members.get(instance.id)
            if of_group and (group, of_group.version) in self._bad:
                member.faults[Fault.BAD_DEPLOY] = ActiveFault(now, NEVER)
        if instance.boots != member.boots:
            member.boots = instance.boots
            member.boot(now, instance.up_at)
        if instance.state not in {"pending", "running"}:
            member.up_at = NEVER
            member.faults.clear()

    def _deploy(self, group: Group) -> None:
        """As Terraform does it: the group gets a version, and a refresh that does not name it."""
        group.version = str(int(group.version) + 1)
        self._bad.add((group.name, group.version))
        self.aws.refreshes.start_instance_refresh(
            {"AutoScalingGroupName": group.name, "Preferences": {"SkipMatching": True}}
        )

    def _spread(self, now: float) -> None:
        """Share each group's traffic among the members that can serve it."""
        registered = {
            target.id
            for group in self.aws.world.target_groups.values()
            for target in group.targets
            if target.draining_until is None
        }
        for name, group in self.aws.world.groups.items():
            members = [member for member in self._members.values() if member.host.group == name]
            able = [
                member
                for member in members
                if member.host.instance_id in registered & group.members.keys()
                and group.members[member.host.instance_id].lifecycle == "InService"
                and member.serves(now)
            ]
            share = self._demand(name, now) / len(able) if able else 0.0
            for member in members:
                member.requests = share if member in able else 0.0

    def _demand(self, group: str, now: float) -> float:
        usual = float(usual_requests(group, np.asarray(now))) * (DESIRED if group in GROUPS else 1)
        if self._surges.get(group, 0.0) > now:
            return max(usual, _SURGE_MEMBERS * CAPACITY)
        return usual

    def _apply_surges(self) -> None:
        for member in self._members.values():
            member.surge_until = self._surges.get(member.host.group, 0.0)
