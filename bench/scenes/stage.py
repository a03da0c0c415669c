"""The hosts of scenes in virtual time: they break, are acted on by AWS, and are scraped."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import httpx
import numpy as np

from bench.scenes.backfill import ratios
from bench.scenes.remote_write import STALE, write_moment
from bench.scenes.scene import Member, Scene, Setting, latest
from demo.aws.core import SteadyHosts
from demo.aws.emulator import Emulator
from demo.aws.world import Instance
from demo.fleet.node_exporter import Exporter
from demo.fleet.workload import Host, Workload, levels

SCRAPE_S = 5.0
# What each document ends, and what outlives a boot.
_REPAIRS = {
    "SmartCloudOps-RestartService": {"hang", "leak"},
    "SmartCloudOps-CleanDisk": {"fill"},
}
_OUTLIVES_BOOT = frozenset({"fill", "wrong"})
_SLO_S = 300.0


@dataclass
class _Live:
    """A host on stage: `forces` are its present faults."""

    host: Host
    exporter: Exporter
    forces: dict[str, float]
    up: bool = True
    silent: bool = False
    boots: int = 0
    series: frozenset[str] = frozenset()


@dataclass
class Stage(SteadyHosts):
    """`tick` lets AWS and the hosts go on until now, and writes what Prometheus would scrape."""

    aws: Emulator
    scenes: Sequence[Scene]
    setting: Setting
    client: httpx.Client
    url: str
    _live: dict[str, _Live] = field(default_factory=dict, init=False)
    _burn: dict[str, deque[tuple[float, float]]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.aws.core.hosts = self
        for scene in self.scenes:
            self._burn[scene.name] = deque(scene.burn, int(_SLO_S / SCRAPE_S))
            for member in scene.members:
                self._live[member.host.instance_id] = _begin(member)
                member_silent = member.silent_s > 0
                self._live[member.host.instance_id].silent = member_silent and member.up

    def answers(self, instance: Instance, now: float) -> bool:
        live = self._live.get(instance.id)
        return super().answers(instance, now) and (live is None or live.up)

    def serves(self, instance: Instance, now: float) -> bool:
        live = self._live.get(instance.id)
        hangs = live is not None and live.forces.get("hang", 0.0) > 0
        return self.answers(instance, now) and not hangs

    def run_document(self, instance_id: str, document: str) -> bool:
        scene = self._scene_of(instance_id)
        if scene is not None and scene.failing:
            return False
        stubborn = scene.stubborn if scene else frozenset()
        live = self._live[instance_id]
        for fault in _REPAIRS.get(document, set()) - stubborn:
            live.forces.pop(fault, None)
        return document in _REPAIRS

    def is_ill(self, target: str) -> bool:
        """Whether an alert on it goes on: any on a group, and on a host that has a fault."""
        instance, live = self.aws.world.instances.get(target), self._live.get(target)
        if instance is None or live is None:
            return True
        there = instance.state in {"pending", "running"}
        return there and bool(live.forces or not self.answers(instance, self.aws.core.now))

    def tick(self, scenes: Sequence[Scene]) -> None:
        """Go on to now; the hosts of these scenes are scraped."""
        self.aws.pass_time()
        write_moment(
            self.client,
            self.url,
            (sample for scene in scenes for sample in self._scrape(scene)),
            self.aws.core.clock(),
        )

    def _scene_of(self, instance_id: str) -> Scene | None:
        group = self.aws.world.group_of(instance_id)
        return next((scene for scene in self.scenes if group and scene.name == group.name), None)

    def _scrape(self, scene: Scene) -> Iterator[tuple[str, float]]:
        now, group = self.aws.core.clock(), self.aws.world.groups[scene.name]
        mine = {member.host.instance_id for member in scene.members} | group.members.keys()
        instances = [self.aws.world.instances[instance_id] for instance_id in sorted(mine)]
        for instance in instances:
            self._follow(scene, instance, now)
        serving = [
            instance.id
            for instance in instances
            if instance.id in group.members
            and group.members[instance.id].lifecycle == "InService"
            and self.answers(instance, now)
        ]
        demand = sum(float(member.requests[-1]) for member in scene.members)
        errors, total = 0.0, 0.0
        for instance in instances:
            live = self._live[instance.id]
            labels = scene.shop.selectors(live.host)
            share = demand / len(serving) if instance.id in serving else 0.0
            scraped: dict[str, float] = {}
            if self.answers(instance, now):
                level = levels(live.host, _workload(live, share), np.asarray(now))
                live.exporter.advance(level, now)
                errors += float(level["errors"])
                total += float(level["errors"] + level["answered"])
                if not live.silent:
                    scraped = dict(live.exporter.samples(level)) | ratios(level)
            else:
                live.exporter.at = now
            if not scene.shop.scrapes(now):
                continue
            known = instance.state in {"pending", "running"}
            named = {_with(name, labels): value for name, value in scraped.items()}
            if known:
                named[f"up{{{labels}}}"] = float(bool(scraped))
            yield from named.items()
            yield from ((name, STALE) for name in live.series - named.keys())
            live.series = frozenset(named)
        yield from self._burnt(scene, errors, total)

    def _burnt(self, scene: Scene, errors: float, total: float) -> Iterator[tuple[str, float]]:
        burn = self._burn[scene.name]
        burn.append((errors, total))
        yield f'asg:service_error:ratio1m{{asg="{scene.name}"}}', errors / max(total, 1e-9)
        long = sum(error for error, _ in burn) / max(sum(all_ for _, all_ in burn), 1e-9)
        yield f'asg:service_error:ratio5m{{asg="{scene.name}"}}', long

    def _follow(self, scene: Scene, instance: Instance, now: float) -> None:
        live = self._live.get(instance.id)
        if live is None:
            host = Host(
                instance_id=instance.id,
                group=scene.name,
                az=instance.az,
                address=instance.address,
                phase=0.0,
                lean=0.0,
            )
            forces = scene.every_launch
            self._live[instance.id] = _Live(host, Exporter(now, now), dict(forces), boots=1)
        elif instance.boots != live.boots:
            kept = _OUTLIVES_BOOT | (scene.stubborn if scene.outlives_boot else frozenset())
            live.forces = {name: force for name, force in live.forces.items() if name in kept}
            live.boots, live.up = instance.boots, True
            live.exporter = Exporter(booted_at=now, at=now)


def _begin(member: Member) -> _Live:
    forces = {name: latest(force) for name, force in member.forces.items()}
    present = {name: force for name, force in forces.items() if force > 0}
    return _Live(member.host, member.exporter, present, up=member.up)


def _workload(live: _Live, requests: float) -> Workload:
    none = np.zeros(())
    forces = {
        name: np.asarray(live.forces[name]) if name in live.forces else none
        for name in ("runaway", "batch", "leak", "fill", "hang", "wrong")
    }
    return Workload(requests=np.asarray(requests), **forces)


def _with(series: str, labels: str) -> str:
    name, _, own = series.partition("{")
    return f"{name}{{{','.join(filter(None, (own.removesuffix('}'), labels)))}}}"
