"""Targets as AWS names them: by (id, port), by instance or address, in any target group."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from actions.aws.target_errors import NotActionableError
from actions.aws.target_health import read_target_health
from actions.base import Call, Outcome, Progress
from actions.catalog.registry import CATALOG
from demo.aws.world import Target, TargetGroup, target_group_arn
from tests.actions.catalog.catalog_fixtures import GROUP, HOST, World

_WEB, _ADMIN = target_group_arn("web"), target_group_arn("admin")
_deregister, _register = CATALOG["deregister_target"], CATALOG["register_target"]


@pytest.fixture
def world() -> World:
    return World()


def _out(world: World, **params: Any) -> Call:
    """Take the first instance out; the step as it was sent."""
    call = world.call(**params)
    observation = _deregister.observe(call)
    assert not observation.already
    call = replace(call, before=observation.before)
    _deregister.act(call)
    return call


def _back(call: Call) -> Call:
    undo = _deregister.undo(call)
    assert undo is not None
    params = _register.params.model_validate(undo.params).model_dump()
    call = replace(call, params=params)
    call = replace(call, before=_register.observe(call).before)
    _register.act(call)
    return call


def _receiving(world: World) -> set[tuple[str, str, int]]:
    """Target group, id and port of each target that is registered."""
    return {
        (group.name, target.id, target.port)
        for group in world.emulator.world.target_groups.values()
        for target in group.targets
        if target.draining_until is None
    }


def _on_ports(world: World, *ports: int) -> TargetGroup:
    group = world.emulator.world.target_groups[_WEB]
    group.targets = [Target(member, port) for member in world.group.members for port in ports]
    return group


def _by_address(world: World) -> TargetGroup:
    group = _on_ports(world, 9000)
    group.kind = "ip"
    group.targets = [
        Target(world.emulator.world.instances[target.id].address, target.port)
        for target in group.targets
    ]
    return group


def _in_two_groups(world: World) -> None:
    world.emulator.world.attach(world.group, _WEB, _ADMIN)
    world.emulator.world.target_groups[_ADMIN].delay_s = 5.0


@pytest.mark.parametrize(
    ("prepare", "taken_out"),
    [
        (lambda world: _on_ports(world, 9000), 1),
        (lambda world: _on_ports(world, 8080, 9000), 2),
        (_by_address, 1),
        (_in_two_groups, 2),
    ],
    ids=["port", "two ports", "address", "two groups"],
)
def test_every_target_of_the_instance_goes_and_comes_back(
    world: World, prepare: Callable[[World], object], taken_out: int
) -> None:
    """On its ports and addresses, in each target group; nobody else's target changes."""
    prepare(world)
    before = _receiving(world)
    names = {HOST, world.emulator.world.instances[HOST].address}
    call = _out(world)
    gone = before - _receiving(world)
    assert len(gone) == taken_out
    assert {target_id for _, target_id, _ in gone} <= names
    assert _deregister.progress(call) is Progress.UNDERWAY
    assert _deregister.read_back(call).outcome is Outcome.CHANGED
    world.clock.now += 10
    assert _deregister.progress(call) is Progress.DONE
    assert _deregister.observe(world.call()).already
    call = _back(call)
    assert _receiving(world) == before
    assert _register.progress(call) is Progress.DONE


def test_one_port_of_two_goes_alone(world: World) -> None:
    _on_ports(world, 8080, 9000)
    _out(world, targets=[{"target_group": _WEB, "id": HOST, "port": 9000}])
    assert ("web", HOST, 8080) in _receiving(world)
    assert ("web", HOST, 9000) not in _receiving(world)


def test_a_registration_is_taken_back_on_its_port_alone(world: World) -> None:
    """The rollback of registering one port leaves the other one."""
    _on_ports(world, 8080)
    params: Any = {"targets": [{"target_group": _WEB, "id": HOST, "port": 9000}]}
    call = world.call(**params)
    call = replace(call, before=_register.observe(call).before)
    _register.act(call)
    assert ("web", HOST, 9000) in _receiving(world)
    undo = _register.undo(call)
    assert undo is not None
    _out(world, **_deregister.params.model_validate(undo.params).model_dump())
    assert ("web", HOST, 8080) in _receiving(world)
    assert ("web", HOST, 9000) not in _receiving(world)


def test_a_group_without_listener_has_its_targets(world: World) -> None:
    """Blue and green: `unused` there is Target.NotInUse, and nobody is left without a target."""
    world.emulator.world.target_groups[_WEB].used = False
    before = _receiving(world)
    call = _out(world)
    world.clock.now += 10
    assert _deregister.progress(call) is Progress.DONE
    call = _back(call)
    assert (_receiving(world), _register.progress(call)) == (before, Progress.DONE)
    assert _register.observe(world.call()).already


def test_targets_without_health_checks_serve(world: World) -> None:
    """`unavailable` is Target.HealthCheckDisabled: they get traffic, and count as serving."""
    world.emulator.world.target_groups[_WEB].checked = False
    registered, serving = read_target_health(world.aws, _WEB)
    assert registered == serving == frozenset(world.in_service())
    _back(_out(world))


@pytest.mark.parametrize("port", [8080, 9000])
def test_an_instance_serves_on_all_of_its_ports(world: World, port: int) -> None:
    """One that is ill on one port is out, for the disruption budget."""
    group = _on_ports(world, 8080, 9000)
    ill = next(target for target in group.targets if target.port == port)
    ill.draining_until = world.clock() + 60
    registered, serving = read_target_health(world.aws, _WEB)
    assert registered == serving == frozenset(world.in_service())
    group.states = {HOST: "unhealthy"}
    ill.draining_until = None
    assert read_target_health(world.aws, _WEB)[1] == serving - {HOST}


def test_targets_by_address_count_as_their_instances(world: World) -> None:
    """Also those of an address that EC2 does not know, under that address."""
    group = _by_address(world)
    group.targets.append(Target("192.0.2.7", 8080))
    registered, serving = read_target_health(world.aws, _WEB)
    assert registered == {*world.in_service(), "192.0.2.7"}
    assert serving == frozenset(world.in_service())


def test_where_nobody_knows_whose_the_targets_are_nothing_is_done(world: World) -> None:
    """Neither "nothing to do" nor a call."""
    group = _by_address(world)
    group.targets = [Target(f"192.0.2.{number}", 8080) for number in range(4)]
    with pytest.raises(NotActionableError, match="is unknown"):
        _deregister.observe(world.call())


@pytest.mark.parametrize("kind", ["classic", "lattice"])
def test_other_balancers_are_not_overlooked(world: World, kind: str) -> None:
    """A classic load balancer or a lattice would go on sending traffic: use standby."""
    setattr(world.group, kind, ["legacy"])
    for action in (_deregister, _register):
        with pytest.raises(NotActionableError, match=f"{GROUP} gets traffic also from legacy"):
            action.observe(world.call())
    assert not _deregister.observe(world.call(target_groups=[_WEB])).already


def test_a_target_of_another_instance_is_not_registered(world: World) -> None:
    stranger = world.in_service()[1]
    targets = [{"target_group": _WEB, "id": stranger, "port": 8080}]
    with pytest.raises(NotActionableError, match=f"{stranger} is no address of"):
        _register.observe(world.call(targets=targets))


@pytest.mark.parametrize("other", ["unhealthy", "draining", "initial"])
def test_the_last_healthy_target_stays(world: World, other: str) -> None:
    """Of each of its target groups; those that are being drained count for nothing."""
    states = dict.fromkeys(world.in_service(), other) | {HOST: "healthy"}
    world.emulator.world.target_groups[_WEB].states = states
    with pytest.raises(NotActionableError, match=f"no healthy target but {HOST} is left in"):
        _deregister.observe(world.call())


_HEALTH = "target_group_health.{}.minimum_healthy_targets.{}"
_DNS, _ROUTING = "dns_failover", "unhealthy_state_routing"
_ZONES = "load_balancing.cross_zone.enabled"
_NETWORK = {"proxy_protocol_v2.enabled": "false"}


@pytest.mark.parametrize(
    ("attributes", "left"),
    [
        ({_HEALTH.format(_DNS, "count"): "4"}, "only 3 healthy targets .* of the 4"),
        ({_HEALTH.format(_ROUTING, "count"): "4"}, "only 3 healthy targets .* of the 4"),
        ({_HEALTH.format(_DNS, "count"): "3", _HEALTH.format(_ROUTING, "count"): "2"}, ""),
        ({_HEALTH.format(_ROUTING, "percentage"): "61"}, "only 3 healthy targets .* of the 4"),
        ({_HEALTH.format(_ROUTING, "percentage"): "60"}, ""),
        ({_HEALTH.format(_DNS, unit): "off" for unit in ("count", "percentage")}, ""),
        # Two of each zone: one would be left.
        ({_HEALTH.format(_DNS, "count"): "2"}, ""),
        ({_HEALTH.format(_DNS, "count"): "2", _ZONES: "true", **_NETWORK}, ""),
        ({_HEALTH.format(_DNS, "count"): "2", _ZONES: "false"}, "only 1 healthy targets .* the 2"),
        ({_HEALTH.format(_DNS, "count"): "2", **_NETWORK}, "only 1 healthy targets .* the 2"),
        ({_HEALTH.format(_DNS, "count"): "1", **_NETWORK}, ""),
    ],
)
def test_as_many_healthy_targets_stay_as_their_group_asks_for(
    world: World, attributes: dict[str, str], left: str
) -> None:
    """With fewer the ill ones get traffic, too. Two of the five others are ill."""
    group = world.emulator.world.target_groups[_WEB]
    group.attributes = attributes
    group.states = dict.fromkeys(world.in_service()[1:3], "unhealthy")
    if left:
        with pytest.raises(NotActionableError, match=left):
            _deregister.observe(world.call())
        # Taking an ill one out leaves as many healthy ones.
        group.states[HOST] = "unhealthy"
    assert not _deregister.observe(world.call()).already


@pytest.mark.parametrize(
    ("out_of", "out", "into"),
    [
        ((), Outcome.FAILED, Outcome.CHANGED),
        ((_WEB,), Outcome.UNKNOWN, Outcome.UNKNOWN),
        ((_WEB, _ADMIN), Outcome.CHANGED, Outcome.FAILED),
    ],
)
def test_a_lost_answer_is_settled_by_where_the_target_is(
    world: World, out_of: tuple[str, ...], out: Outcome, into: Outcome
) -> None:
    """All of it happened, nothing did, or nobody knows; each part that did is rolled back."""
    _in_two_groups(world)
    for arn in out_of:
        world.aws.elbv2.deregister_targets(TargetGroupArn=arn, Targets=[{"Id": HOST}])
    before = {"targets": {_WEB: [[HOST, 8080]], _ADMIN: [[HOST, None]]}}
    call = replace(world.call(), before=before)
    assert (_deregister.read_back(call).outcome, _register.read_back(call).outcome) == (out, into)
    assert _deregister.unchanged_since(call) is bool(out_of)


def test_only_a_running_member_of_a_group_is_registered(world: World) -> None:
    """Elsewhere there is nothing to put it into."""
    world.group.target_groups = []
    with pytest.raises(NotActionableError, match="belongs to no target group"):
        _register.observe(world.call())
    del world.host.tags["aws:autoscaling:groupName"]
    with pytest.raises(NotActionableError, match="belongs to no target group"):
        _register.observe(world.call())
    world.host.state = "stopped"
    with pytest.raises(NotActionableError, match="is stopped"):
        _register.observe(world.call())


def test_a_registered_target_is_waited_for_until_it_is_healthy(world: World) -> None:
    """Only then does it serve. A record of an earlier version names no ports."""
    call = replace(world.call(), before={"target_groups": [_WEB]})
    for state, progress in (("initial", Progress.UNDERWAY), ("healthy", Progress.DONE)):
        world.emulator.world.target_groups[_WEB].states = {HOST: state}
        assert _register.progress(call) is progress
