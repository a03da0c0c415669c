"""The simulated fleet: hosts that follow the emulated AWS, carry traffic and break.

The emulator's state lists the instances; the fleet reads it after every call. The state shows no
reboot, so the emulator reports reboots to the fleet.
"""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from demo.aws.registry import RegisteredInstance, Registry, targets_of
from demo.fleet import history
from demo.fleet.faults import OF_GROUP, REPAIRS, ActiveFault, Fault, FaultError, parse_fault
from demo.fleet.member import NEVER, Member, new_host
from demo.fleet.node_exporter import Exporter, exposition
from demo.fleet.workload import CAPACITY, Host, usual_requests

_BOOT_S, _LAUNCH_S, _BATCH_S, _SURGE_S, _DRAINED_S = 8.0, 10.0, 180.0, 1_800.0, 5.0
# The traffic of a surge, as the number of members that it keeps fully busy.
_SURGE_MEMBERS = 6
_TICK_S = 0.5


@dataclass
class Fleet:
    """The hosts. Boots, launches and jobs are `speed` times as fast as in AWS. Thread-safe."""

    registry: Registry
    seed: int
    speed: float
    clock: Callable[[], float] = time.time
    _births: Iterator[int] = field(default_factory=itertools.count, init=False)
    _members: dict[str, Member] = field(default_factory=dict, init=False)
    _surges: dict[str, float] = field(default_factory=dict, init=False)
    _served: dict[str, set[str]] = field(default_factory=dict, init=False)
    _drained: dict[tuple[str, str], float] = field(default_factory=dict, init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)

    def run(self) -> None:
        """Call `tick` in a loop for ever."""
        while True:
            time.sleep(_TICK_S)
            self.tick()

    def tick(self) -> None:
        """Take over the emulator's instances, and simulate every host up to now."""
        with self._lock:
            now = self.clock()
            registered = {
                instance.instance_id: instance for instance in self.registry.instances(now)
            }
            for instance_id in self._members.keys() - registered.keys():
                del self._members[instance_id]
            for instance in registered.values():
                self._follow(instance, now)
            self._spread(registered, now)
            for member in self._members.values():
                if member.answers(now):
                    member.exporter.advance(member.levels(now), now)
                else:
                    member.exporter.at = now

    def rebooted(self, instance_ids: Sequence[str]) -> None:
        """Reboot the hosts: their processes end, and their counters restart at zero."""
        with self._lock:
            for member in map(self._members.get, instance_ids):
                if member is not None:
                    member.boot(self.clock(), _BOOT_S)

    def agent_online(self, instance_id: str) -> bool:
        """Whether the host's SSM agent is online."""
        self.tick()
        with self._lock:
            member = self._members.get(instance_id)
            return member is not None and member.answers(self.clock())

    def run_document(self, instance_id: str, document: str, parameters: Mapping[str, Any]) -> bool:
        """Run a document on the host. Returns False where the host cannot run it."""
        del parameters
        with self._lock:
            member = self._members.get(instance_id)
            if member is None or document not in REPAIRS or not member.answers(self.clock()):
                return False
            for fault in REPAIRS[document]:
                member.faults.pop(fault, None)
            return True

    def target_health(self, arn: str) -> Mapping[str, str]:
        """State by instance of a target group, as its load balancer shows it."""
        self.tick()
        with self._lock:
            now, targets = self.clock(), targets_of(arn)
            for instance_id in self._served.get(arn, ()):
                if instance_id not in targets:
                    self._drained.setdefault((arn, instance_id), now)
            self._served[arn] = set(targets)
            states = {instance_id: self._target_state(instance_id, now) for instance_id in targets}
            for (of, instance_id), since in self._drained.items():
                recent = now - since < _DRAINED_S / self.speed
                if of == arn and instance_id not in targets and recent:
                    states[instance_id] = "draining"
            return states

    def _target_state(self, instance_id: str, now: float) -> str:
        member = self._members.get(instance_id)
        return "unused" if member is None else member.target_state(now)

    def begin(self, now: float) -> history.PastSeries:
        """Simulate a past of the registered instances, and continue from its end."""
        with self._lock:
            registered = self.registry.instances(now)
            hosts = [new_host(instance, self.seed, next(self._births)) for instance in registered]
            exporters, series = history.simulate_past(hosts, now)
            for instance, host in zip(registered, hosts, strict=True):
                self._members[instance.instance_id] = Member(
                    host=host,
                    exporter=exporters[instance.instance_id],
                    up_at=0.0,
                    launched_at=instance.launched_at,
                    speed=self.speed,
                )
            return series

    def hosts(self) -> Sequence[Host]:
        with self._lock:
            return [member.host for member in self._members.values()]

    def inject(self, target: str, name: str) -> None:
        """Inject a fault. Raises FaultError where the fault or the target does not exist."""
        with self._lock:
            fault = parse_fault(name)
            now = self.clock()
            if fault in OF_GROUP:
                if target not in {member.host.group for member in self._members.values()}:
                    raise FaultError(f"{fault} needs a group of the fleet: {target!r} is none")
                self._surges[target] = now + _SURGE_S
                self._apply_surges()
                return
            member = self._members.get(target)
            if member is None:
                raise FaultError(f"{fault} needs an instance of the fleet: {target!r} is none")
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

    def _follow(self, instance: RegisteredInstance, now: float) -> None:
        member = self._members.get(instance.instance_id)
        if member is None:
            member = Member(
                host=new_host(instance, self.seed, next(self._births)),
                exporter=Exporter(booted_at=now, at=now),
                up_at=now,
                launched_at=instance.launched_at,
                speed=self.speed,
                surge_until=self._surges.get(instance.group, 0.0),
            )
            self._members[instance.instance_id] = member
            member.boot(now, _LAUNCH_S)
        if not instance.running:
            member.up_at = NEVER
            member.faults.clear()
        elif member.up_at == NEVER:
            member.boot(now, _BOOT_S)

    def _spread(self, registered: Mapping[str, RegisteredInstance], now: float) -> None:
        """Share each group's traffic among the members that can serve it."""
        for group in {member.host.group for member in self._members.values()}:
            able = [
                member
                for instance_id, member in self._members.items()
                if member.host.group == group
                and registered[instance_id].in_service
                and member.answers(now)
                and not member.hung(now)
            ]
            share = self._demand(group, now) / len(able) if able else 0.0
            for member in self._members.values():
                if member.host.group == group:
                    member.requests = share if member in able else 0.0

    def _demand(self, group: str, now: float) -> float:
        usual = float(usual_requests(group, np.asarray(now))) * self.registry.usual_size(group)
        if self._surges.get(group, 0.0) > now:
            return max(usual, _SURGE_MEMBERS * CAPACITY)
        return usual

    def _apply_surges(self) -> None:
        for member in self._members.values():
            member.surge_until = self._surges.get(member.host.group, 0.0)
