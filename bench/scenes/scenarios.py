"""Labelled incidents that measure decisions: hosts, their faults, and the expected actions.

All incidents happen at the same moment, each in its own Auto Scaling group, so that one Prometheus
holds the metrics of all.
"""

from collections.abc import Callable, Mapping
from itertools import cycle, islice
from typing import Any

import numpy as np

from bench.scenes.aws_scenarios import AWS_KINDS
from bench.scenes.building import expect, id_of, ramp, since
from bench.scenes.scene import DAY_S, HOSTS, Member, Scene, Setting, Then
from bench.scenes.shop import draw_shop
from demo.aws.emulator import Emulator
from demo.aws.world import TEMPLATE, ZONES, Group, World
from demo.fleet.workload import CAPACITY, Host, Moments, usual_requests

_JOB_S = 3_000.0


def build_scenes(setting: Setting, count: int, part: str = "") -> list[Scene]:
    """Build so many scenes, of each kind in turn whose name contains `part`."""
    kinds = {kind: build for kind, build in {**KINDS, **AWS_KINDS}.items() if part in kind}
    built: list[Scene] = []
    for index, (kind, build) in enumerate(islice(cycle(kinds.items()), count)):
        scene = _blank(setting, kind, index, index // len(kinds))
        build(setting, scene)
        scene.suspended = set(scene.group.suspended)
        built.append(scene)
    return built


def _blank(setting: Setting, kind: str, index: int, number: int) -> Scene:
    name = f"asg-{index}"
    ids = [f"i-{index * 100 + position:017x}" for position in range(HOSTS)]
    chance = setting.chance
    noise = chance.choice([0.02, 0.08, 0.2])
    seeded = np.random.default_rng(index)
    usual = usual_requests(name, setting.at)
    members = [
        Member(
            host=Host(
                instance_id=instance_id,
                group=name,
                az=ZONES[position % len(ZONES)],
                address=f"10.{index // 250}.{index % 250}.{position + 1}",
                phase=chance.uniform(0, 6.28),
                lean=chance.uniform(-1, 1),
            ),
            requests=usual * seeded.normal(1, noise, setting.at.shape).clip(0.3, 2),
        )
        for position, instance_id in enumerate(ids)
    ]
    world = World()
    world.add_group(Group(name, 3, 12, HOSTS), ids, setting.now - 30 * DAY_S)
    for member in members:
        # Each scene has a world of its own, whose addresses would be those of all others.
        world.instances[member.host.instance_id].address = member.host.address
    return Scene(
        kind=kind,
        name=name,
        members=members,
        aws=world,
        shop=draw_shop(chance),
        alerts=(),
        began_s=chance.uniform(15, 45),
        level=(number + 1) / 10,
    )


def _runaway(setting: Setting, scene: Scene) -> None:
    force = setting.chance.uniform(0.9, 1.0)
    scene.members[0].forces["runaway"] = force * since(setting, setting.chance.uniform(40, 240))
    expect(scene, "HighCPU", "reboot_instance")


def _runaway_beside_batch(setting: Setting, scene: Scene) -> None:
    _runaway(setting, scene)
    scene.members[1].forces["batch"] = _daily(setting, 120)
    scene.alerts = [("HighCPU", id_of(scene)), ("HighCPU", id_of(scene, 1))]


def _leak(setting: Setting, scene: Scene) -> None:
    lasts = setting.chance.uniform(300, 3_000)
    scene.members[0].forces["leak"] = ramp(setting, lasts, setting.chance.uniform(0.92, 1.0))
    expect(scene, "HighMemory", "restart_service")
    scene.after_failure = Then("reboot_instance")


def _disk(setting: Setting, scene: Scene) -> None:
    scene.members[0].forces["fill"] = ramp(setting, setting.chance.uniform(200, 3_000), 0.99)
    expect(scene, "DiskSpaceLow", "run_document")
    # A boot keeps what is on the disk; a replacement loses it, so a person is asked.
    scene.after_failure = Then("replace_instance", approval=True)


def _hang(setting: Setting, scene: Scene) -> None:
    scene.members[0].forces["hang"] = since(setting, setting.chance.uniform(25, 200))
    expect(scene, "ServiceDown", "restart_service")
    scene.after_failure = Then("reboot_instance")


def _down(setting: Setting, scene: Scene) -> None:
    scene.members[0].up = False
    scene.members[0].silent_s = setting.chance.uniform(20, 90)
    expect(scene, "InstanceDown", "reboot_instance")


def _surge(setting: Setting, scene: Scene, least: float = 1.0, since_s: float = 120) -> None:
    more = setting.chance.uniform(least, 1.3) * CAPACITY
    for member in scene.members:
        member.requests = np.where(since(setting, since_s) > 0, more, member.requests)
    scene.alerts = [("HighCPU", id_of(scene, position)) for position in range(HOSTS)]
    scene.expect = [("set_desired_capacity", scene.name)]


def _overload(setting: Setting, scene: Scene) -> None:
    # With less load, the rule's window of five minutes has too few errors to fire.
    _surge(setting, scene, least=1.15, since_s=240)
    scene.alerts = [("SLOBurn", scene.name)]


def _wrong(setting: Setting, scene: Scene) -> None:
    scene.members[0].forces["wrong"] = since(setting, setting.chance.uniform(60, 300))
    expect(scene, "CriticalSystemFailure", "emergency_shutdown")
    scene.approval = True


def _idle(setting: Setting, scene: Scene) -> None:
    for member in scene.members:
        member.requests = np.full(setting.at.shape, setting.chance.uniform(2, 15))
    scene.alerts = [("IdleCapacity", scene.name)]
    scene.expect = [("scale_in", scene.name)]
    scene.approval = True


def _refresh(scene: Scene) -> dict[str, Any]:
    """One that can be rolled back."""
    return {
        "InstanceRefreshId": "00000000-0000-4000-8000-000000000000",
        "AutoScalingGroupName": scene.name,
        "Status": "InProgress",
        "Old": (),
        "DesiredConfiguration": {"LaunchTemplate": {"LaunchTemplateId": TEMPLATE, "Version": "2"}},
    }


def _bad_version(setting: Setting, scene: Scene) -> None:
    sick = setting.chance.choice([2, 3])
    for position in range(sick):
        scene.members[position].forces["hang"] = since(setting, 90)
        scene.group.members[id_of(scene, position)].version = "2"
    scene.group.refreshes = [_refresh(scene)]
    scene.alerts = [("ServiceDown", id_of(scene, position)) for position in range(sick)]
    scene.expect = [("rollback_instance_refresh", scene.name)]


def _zone(setting: Setting, scene: Scene) -> None:
    silent_s = setting.chance.uniform(30, 90)
    zone = scene.members[0].host.az
    for member in scene.members:
        if member.host.az == zone:
            member.up, member.silent_s = False, silent_s
    gone = [member.host.instance_id for member in scene.members if not member.up]
    scene.alerts = [("InstanceDown", instance_id) for instance_id in gone]


def _all_hang(setting: Setting, scene: Scene) -> None:
    for member in scene.members:
        member.forces["hang"] = since(setting, 120)
    scene.alerts = [("ServiceDown", id_of(scene, position)) for position in range(HOSTS)]


def _broken_idly(setting: Setting, scene: Scene) -> None:
    for member in scene.members:
        member.forces["wrong"] = 0.3 * since(setting, 400)
    scene.alerts = [("SLOBurn", scene.name)]


def _daily(setting: Setting, lasted_s: float) -> Moments:
    """A job at this hour of every day, which has run for `lasted_s` today."""
    ago = np.floor((setting.now + DAY_S / 2 - setting.at) / DAY_S)
    since = setting.at - (setting.now - ago * DAY_S)
    earlier = (since >= -lasted_s - 300) & (since < _JOB_S) & (ago >= 1)
    return np.where(earlier | (setting.at >= setting.now - lasted_s), 0.98, 0.0)


def _batch(setting: Setting, scene: Scene) -> None:
    scene.members[0].forces["batch"] = _daily(setting, setting.chance.uniform(60, 400))
    scene.alerts = [("HighCPU", id_of(scene))]


def _deploy(setting: Setting, scene: Scene) -> None:
    position = setting.chance.randrange(HOSTS)
    scene.members[position].forces["runaway"] = since(setting, setting.chance.uniform(40, 120))
    scene.group.refreshes = [_refresh(scene)]
    scene.alerts = [("HighCPU", id_of(scene, position))]


def _warm_up(setting: Setting, scene: Scene) -> None:
    """A cache that fills: more disk reads than ever in the history, and a busy CPU."""
    scene.members[0].forces["batch"] = setting.chance.uniform(0.9, 1.0) * since(setting, 150)
    scene.alerts = [("HighCPU", id_of(scene))]


def _cold_start(setting: Setting, scene: Scene) -> None:
    scene.members[0].history = False
    scene.members[0].forces["runaway"] = since(setting, 60)
    scene.aws.instances[id_of(scene)].launched_at = setting.now - setting.chance.uniform(60, 110)
    scene.alerts = [("HighCPU", id_of(scene))]


def _gap(setting: Setting, scene: Scene) -> None:
    """The host is up, but has had no samples for minutes."""
    scene.members[0].forces["runaway"] = since(setting, 900)
    scene.members[0].silent_s = setting.chance.uniform(180, 600)
    scene.alerts = [("HighCPU", id_of(scene))]


def _counters_reset(setting: Setting, scene: Scene) -> None:
    """The exporter restarted; the host did not."""
    scene.members[0].reset_s = setting.chance.uniform(20, 90)
    scene.alerts = [("HighCPU", id_of(scene))]


def _skewed(setting: Setting, scene: Scene) -> None:
    """The alert has an earlier time: the clock of the host or of Prometheus is minutes off."""
    scene.members[0].forces["runaway"] = since(setting, 900) - since(setting, 400)
    scene.alerts = [("HighCPU", id_of(scene))]


def _launches_are_ill(aws: Emulator, scene: Scene) -> None:
    for name, member in aws.world.groups[scene.name].members.items():
        if name not in scene.targets:
            member.health = "Unhealthy"


def _few_left(setting: Setting, scene: Scene) -> None:
    """Two others are ill, and what their group launches in their place."""
    _runaway(setting, scene)
    scene.meddle = _launches_are_ill
    for position in (2, 3):
        scene.group.members[id_of(scene, position)].health = "Unhealthy"
    scene.expect = []


def _many(setting: Setting, scene: Scene) -> None:
    sick = setting.chance.choice([3, 4])
    for position in range(sick):
        scene.members[position].forces["runaway"] = since(setting, 120)
    scene.alerts = [("HighCPU", id_of(scene, position)) for position in range(sick)]


def _stranger(setting: Setting, scene: Scene) -> None:
    _runaway(setting, scene)
    scene.aws.instances[id_of(scene)].tags = {}
    scene.expect = []


KINDS: Mapping[str, Callable[[Setting, Scene], None]] = {
    "runaway process": _runaway,
    "runaway during a batch job": _runaway_beside_batch,
    "memory leak": _leak,
    "disk full": _disk,
    "hung service": _hang,
    "dead instance": _down,
    "traffic surge": _surge,
    "overload": _overload,
    "wrong answers": _wrong,
    "idle group": _idle,
    "bad version": _bad_version,
    "dark zone": _zone,
    "whole group hangs": _all_hang,
    "errors without load": _broken_idly,
    "batch job": _batch,
    "deploy": _deploy,
    "cache warm-up": _warm_up,
    "cold start": _cold_start,
    "metric gap": _gap,
    "counter reset": _counters_reset,
    "clock skew": _skewed,
    "few left": _few_left,
    "several run away": _many,
    "not opted in": _stranger,
}
