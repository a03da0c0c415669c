"""The simulated fleet: hosts that live and die with the emulated AWS, carry traffic and break.

The truth of which instances there are comes from the emulator's own state, looked at after every
call; only a reboot leaves no trace there, so that it is told.
"""

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from demo.aws.registry import Registered, Registry, targets_of
from demo.fleet import history
from demo.fleet.faults import BENIGN, MENDS, OF_GROUP, OUTLIVES_REBOOT, Fault, FaultError, Trouble
from demo.fleet.faults import fault as known_fault
from demo.fleet.node_exporter import Exporter, exposition
from demo.fleet.workload import CAPACITY, Doing, Host, levels, usual_requests

_BOOT_S, _LAUNCH_S, _BATCH_S, _SURGE_S = 8.0, 10.0, 180.0, 1_800.0
# How long a leak and a filling disk take to their full force, and a balancer to see a hung target.
_LEAK_S, _FILL_S, _NOTICED_S, _DRAINED_S = 90.0, 40.0, 10.0, 5.0
# What a surge asks of a group, in members kept fully busy.
_SURGE_MEMBERS = 6
_STRAINED = 0.9
_TICK_S = 0.5
_NEVER = float("inf")


@dataclass
class _Member:
    """A living instance. `up_at` is when it answers again."""

    host: Host
    exporter: Exporter
    up_at: float
    launched_at: float
    faults: dict[Fault, Trouble] = field(default_factory=dict)
    requests: float = 0.0


@dataclass
class Fleet:
    """Thread-safe. `speed` shortens what takes time: booting, launching, jobs."""

    registry: Registry
    seed: int
    speed: float
    clock: Callable[[], float] = time.time
    _births: Iterator[int] = field(default_factory=itertools.count, init=False)
    _members: dict[str, _Member] = field(default_factory=dict, init=False)
    _surges: dict[str, float] = field(default_factory=dict, init=False)
    _served: dict[str, set[str]] = field(default_factory=dict, init=False)
    _drained: dict[tuple[str, str], float] = field(default_factory=dict, init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)

    def run(self) -> None:
        """Let time pass, for ever."""
        while True:
            time.sleep(_TICK_S)
            self.tick()

    def tick(self) -> None:
        """Follow the emulator's state, and let everything run up to now."""
        with self._lock:
            now = self.clock()
            registered = {one.instance_id: one for one in self.registry.instances(now)}
            for instance_id in self._members.keys() - registered.keys():
                del self._members[instance_id]
            for one in registered.values():
                self._follow(one, now)
            self._spread(registered, now)
            for member in self._members.values():
                if _answers(member, now):
                    member.exporter.advance(self._levels(member, now), now)
                else:
                    member.exporter.at = now

    def rebooted(self, instance_ids: Sequence[str]) -> None:
        """The hosts go down, end what ran, and come back with empty counters."""
        with self._lock:
            for member in map(self._members.get, instance_ids):
                if member is not None:
                    self._boot(member, _BOOT_S)

    def listens(self, instance_id: str) -> bool:
        """Whether the host's SSM agent is online."""
        self.tick()
        with self._lock:
            member = self._members.get(instance_id)
            return member is not None and _answers(member, self.clock())

    def command(self, instance_id: str, document: str, parameters: Mapping[str, Any]) -> bool:
        """Run a document on the host; False where it cannot."""
        del parameters
        with self._lock:
            member = self._members.get(instance_id)
            if member is None or document not in MENDS or not _answers(member, self.clock()):
                return False
            for fault in MENDS[document]:
                member.faults.pop(fault, None)
            return True

    def target_health(self, arn: str) -> Mapping[str, str]:
        """State by instance of a target group, as its balancer sees them."""
        self.tick()
        with self._lock:
            now, known = self.clock(), targets_of(arn)
            for instance_id in self._served.get(arn, ()):
                if instance_id not in known:
                    self._drained.setdefault((arn, instance_id), now)
            self._served[arn] = set(known)
            states = {one: self._target_state(one, now) for one in known}
            for (of, instance_id), since in self._drained.items():
                if of == arn and instance_id not in known and now - since < _DRAINED_S / self.speed:
                    states[instance_id] = "draining"
            return states

    def _target_state(self, instance_id: str, now: float) -> str:
        member = self._members.get(instance_id)
        if member is None:
            return "unused"
        if not _answers(member, now):
            return "initial" if now < member.up_at < _NEVER else "unhealthy"
        return "unhealthy" if self._hung(member, now) else "healthy"

    def _hung(self, member: _Member, now: float) -> bool:
        """Whether its service has been silent for long enough to be noticed."""
        trouble = member.faults.get(Fault.SERVICE_HANG)
        return trouble is not None and now - trouble.began > _NOTICED_S / self.speed

    def begin(self, now: float) -> history.Past:
        """Give the instances that there are a past, and go on from where it left them."""
        with self._lock:
            there = self.registry.instances(now)
            hosts = [new_host(one, self.seed, next(self._births)) for one in there]
            exporters, shown = history.live_through(hosts, now)
            for one, host in zip(there, hosts, strict=True):
                self._members[one.instance_id] = _Member(
                    host=host,
                    exporter=exporters[one.instance_id],
                    up_at=0.0,
                    launched_at=one.launched_at,
                )
            return shown

    def hosts(self) -> Sequence[Host]:
        with self._lock:
            return [member.host for member in self._members.values()]

    def break_(self, target: str, fault: str) -> None:
        """Switch a fault on. Raises FaultError for what does not exist, or not there."""
        with self._lock:
            kind = known_fault(fault)
            now = self.clock()
            if kind in OF_GROUP:
                if target not in {member.host.group for member in self._members.values()}:
                    raise FaultError(f"{kind} needs an Auto Scaling group, {target!r} is none")
                self._surges[target] = now + _SURGE_S
                return
            member = self._members.get(target)
            if member is None:
                raise FaultError(f"{kind} needs an instance, {target!r} is none")
            lasts = _BATCH_S / self.speed if kind is Fault.BATCH_JOB else _NEVER
            member.faults[kind] = Trouble(now, now + lasts)

    def mend(self, target: str | None) -> None:
        """Switch all faults of a target off; None is every target."""
        with self._lock:
            for group in list(self._surges):
                if target in (None, group):
                    del self._surges[group]
            for instance_id, member in self._members.items():
                if target in (None, instance_id, member.host.group):
                    member.faults.clear()

    def metrics(self, instance_id: str) -> str | None:
        """What the host's exporter says; empty while it does not answer, None if it is none."""
        self.tick()
        with self._lock:
            now, member = self.clock(), self._members.get(instance_id)
            if member is None:
                return None
            if not _answers(member, now):
                return ""
            return exposition(member.exporter.samples(self._levels(member, now)))

    def truth(self) -> Sequence[dict[str, Any]]:
        """How the hosts are, whatever anybody measures."""
        self.tick()
        with self._lock:
            now = self.clock()
            return [self._truth(member, now) for member in self._members.values()]

    def _truth(self, member: _Member, now: float) -> dict[str, Any]:
        at = self._levels(member, now)
        faults = sorted(self._faults(member, now))
        up = now >= member.up_at
        strained = float(at["utilisation"]) > _STRAINED
        harmful = [fault for fault in faults if fault not in BENIGN]
        health = "healthy" if up else "stopped" if member.up_at == _NEVER else "booting"
        if Fault.INSTANCE_DOWN in faults and health == "healthy":
            health = "down"
        if health == "healthy" and (harmful or strained):
            health = "degraded"
        return {
            "instance_id": member.host.instance_id,
            "asg": member.host.group,
            "az": member.host.az,
            "health": health,
            "faults": faults,
            "traffic": round(member.requests, 2),
            "cpu": round(float(at["cpu_user"] + at["cpu_system"] + at["cpu_iowait"]), 4)
            if up
            else None,
            "launched_at": member.launched_at,
            "booted_at": member.exporter.booted_at,
        }

    def _follow(self, one: Registered, now: float) -> None:
        member = self._members.get(one.instance_id)
        if member is None:
            host = new_host(one, self.seed, next(self._births))
            exporter = Exporter(booted_at=now, at=now)
            member = _Member(host=host, exporter=exporter, up_at=now, launched_at=one.launched_at)
            self._members[one.instance_id] = member
            self._boot(member, _LAUNCH_S)
        if not one.running:
            member.up_at = _NEVER
            member.faults.clear()
        elif member.up_at == _NEVER:
            self._boot(member, _BOOT_S)

    def _boot(self, member: _Member, seconds: float) -> None:
        now = self.clock()
        member.up_at = now + seconds / self.speed
        member.faults = {f: t for f, t in member.faults.items() if f in OUTLIVES_REBOOT}
        member.exporter = Exporter(booted_at=now + 0.3 * seconds / self.speed, at=now)

    def _spread(self, registered: Mapping[str, Registered], now: float) -> None:
        """Share each group's traffic among the members that can serve it."""
        for group in {member.host.group for member in self._members.values()}:
            able = [
                member
                for instance_id, member in self._members.items()
                if member.host.group == group
                and registered[instance_id].in_service
                and _answers(member, now)
                and not self._hung(member, now)
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

    def _levels(self, member: _Member, now: float) -> Mapping[str, Any]:
        faults = self._faults(member, now)
        doing = Doing(
            requests=np.asarray(member.requests),
            runaway=np.asarray(float(Fault.CPU_RUNAWAY in faults)),
            batch=np.asarray(float(Fault.BATCH_JOB in faults)),
            leak=np.asarray(self._force(member, Fault.MEMORY_LEAK, _LEAK_S, now)),
            fill=np.asarray(self._force(member, Fault.DISK_FULL, _FILL_S, now)),
            hang=np.asarray(float(Fault.SERVICE_HANG in faults)),
            wrong=np.asarray(float(Fault.WRONG_ANSWERS in faults)),
        )
        return levels(member.host, doing, np.asarray(now))

    def _force(self, member: _Member, fault: Fault, lasts_s: float, now: float) -> float:
        """How far a fault that grows has grown, from 0 to 1."""
        trouble = member.faults.get(fault)
        return 0.0 if trouble is None else min(1.0, (now - trouble.began) * self.speed / lasts_s)

    def _faults(self, member: _Member, now: float) -> AbstractSet[Fault]:
        present = {fault for fault, trouble in member.faults.items() if trouble.until > now}
        if self._surges.get(member.host.group, 0.0) > now:
            present.add(Fault.TRAFFIC_SURGE)
        return present


def new_host(one: Registered, seed: int, number: int) -> Host:
    """A host with a character of its own, the same for the same seed and order of birth."""
    chance = random.Random(f"{seed} {number}")
    return Host(
        instance_id=one.instance_id,
        group=one.group,
        az=one.az,
        address=one.address,
        phase=chance.uniform(0, 6.28),
        lean=chance.uniform(-1, 1),
    )


def _answers(member: _Member, now: float) -> bool:
    return now >= member.up_at and Fault.INSTANCE_DOWN not in member.faults
