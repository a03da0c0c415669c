"""A set of `make lab`, as training reads it."""

import random
import time
from pathlib import Path

import pytest

from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.lab import pasts, roles
from demo.lab.labelled_set import write
from demo.lab.schedule import Event, Lab
from demo.machines.fleet import MachineFleet
from models.training.labelled_sets import read_set

_START = 1_790_000_000


@pytest.fixture
def lab() -> Lab:
    fleet = MachineFleet(aws=Emulator(Core(time.time)), seed=1, sizes={"web-asg": 2})
    lab = Lab(fleet, random.Random(1))  # noqa: S311 a schedule by its seed
    lab.start = _START
    quiet = [0.1] * len(roles.ROLES)
    quiet[roles.ROLES.index("service_up")] = 1.0
    busy = list(quiet)
    busy[roles.ROLES.index("cpu_busy")] = 0.97
    lab.rows = {"i-0": [quiet] * 20 + [busy] * 12, "i-1": [quiet] * 10 + [busy] * 6 + [quiet] * 16}
    lab.events = [
        Event(target="i-0", kind="cpu_runaway", began=_START + 98, ended=_START + 170),
        Event(target="i-1", kind="compile_job", began=_START + 48, ended=_START + 80),
    ]
    return lab


def _past() -> dict[str, pasts.Rows]:
    return {name: pasts.of_machine(number, _START) for number, name in enumerate(("i-0", "i-1"))}


def test_a_set_holds_what_fired_and_what_was_going_on(lab: Lab, tmp_path: Path) -> None:
    """One alert an event, at the reading at which its rule had held, with two days before it."""
    write(lab, tmp_path, _past(), 5e8)
    alerts = read_set(tmp_path).alerts
    assert [(alert.target, alert.kind, alert.incident, alert.roles) for alert in alerts] == [
        ("i-0", "cpu_runaway", True, ("cpu_busy",)),
        ("i-1", "compile_job", False, ("cpu_busy",)),
    ]
    assert [alert.time - _START for alert in alerts] == [5 * 22, 5 * 12]
    assert list(read_set(tmp_path).groups.values()) == [["i-0", "i-1"]]
    target = read_set(tmp_path).targets["i-0"]
    assert target.step_s == 5
    assert target.start == _START - 2 * 86_400
    assert len(target.values) == 2 * 86_400 // 5 + 32
    busy = target.values[: 2 * 86_400 // 5, target.roles.index("cpu_busy")]
    assert 0 < busy.mean() < 0.5


def test_an_alert_without_an_event_is_natural(lab: Lab, tmp_path: Path) -> None:
    """What the rules raise on an untouched machine is benign."""
    lab.events.clear()
    write(lab, tmp_path, _past(), 5e8)
    assert {(alert.kind, alert.incident) for alert in read_set(tmp_path).alerts} == {
        ("natural", False)
    }
