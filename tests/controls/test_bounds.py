"""What earns a mode, what takes it away, and ten ways to game it that do not work."""

from collections.abc import Sequence
from typing import Any

import pytest

from receiver.controls.bounds import Bounds, crossed, spent, unmet
from receiver.controls.records import ALL, Arming
from receiver.runs.model import State
from receiver.settings import Mode
from receiver.track_record.comparison import Agreement
from receiver.track_record.incidents import Judged
from receiver.track_record.record import TrackRecord, track_record

_BOUNDS = Bounds(agreement=0.8, incidents=10, errors=3)
_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3_600.0, 86_400.0
_START = 1_800_000_000.0


def _run(number: int, **changes: Any) -> Judged:
    """A run a day, each on another target."""
    fields: dict[str, Any] = {
        "run_id": f"run-{number}",
        "playbook": "high-cpu",
        "service": "web-asg",
        "target": f"i-{number}",
        "at": _START + number * _DAY_S,
        "state": State.OBSERVED,
        "acted": False,
        "relapsed": False,
        "agreement": Agreement.AGREE,
    }
    return Judged(**fields | changes)


def _act(number: int, **changes: Any) -> Judged:
    own = {"acted": True, "state": State.SUCCEEDED, "agreement": None}
    return _run(number, **own | changes)


def _many(count: int, **changes: Any) -> list[Judged]:
    return [_run(number, **changes) for number in range(count)]


def _record(runs: Sequence[Judged]) -> TrackRecord:
    return track_record(runs, vouched_max=_BOUNDS.vouched_max)


def _why_not(runs: Sequence[Judged], mode: Mode = Mode.APPROVE, service: str = ALL) -> str:
    return "; ".join(unmet(mode, service, _record(runs), _BOUNDS))


def _arming(mode: Mode = Mode.AUTO, *, earned: bool = True, since: float = _START) -> Arming:
    return Arming(
        playbook="high-cpu",
        service=ALL,
        mode=mode,
        canary_percent=100,
        digest="d",
        by="alice",
        comment="why",
        at=since,
        since=since,
        figures={"earned": earned},
        despite=(),
    )


def test_a_bound_of_sixteen_right_incidents_earns_a_mode() -> None:
    """Ten are not enough: the lower bound of 10 of 10 is 0.72."""
    assert _why_not(_many(16)) == ""
    assert "10 of 10 incidents were right: the lower 95 % bound is 0.72" in _why_not(_many(10))
    assert "9 observed incidents" in _why_not(_many(9))
    needless = [*_many(16), _run(16, agreement=Agreement.NEEDLESS)]
    assert "16 of 17 incidents were right: the lower 95 % bound is 0.73" in _why_not(needless)
    assert _why_not([_act(number) for number in range(16)], Mode.AUTO) == ""


def test_auto_asks_for_acts_that_lasted_and_did_no_harm() -> None:
    assert "0 incidents in which it acted" in _why_not(_many(16), Mode.AUTO)
    lapsed = [_act(number, relapsed=number >= 60) for number in range(76)]
    assert "16 of 76 recoveries did not last" in _why_not(lapsed, Mode.AUTO)
    harm = [_act(number) for number in range(60)] + [
        _act(60, marked_right=False, marked_by="alice")
    ]
    assert _why_not(harm, Mode.AUTO) == "people marked 1 of its acts as wrong"


# Each is a record that looks like 16 right incidents and more.
_GAMES: dict[str, list[Judged]] = {
    "copies of one alert": _many(40, target="i-1", at=_START),
    "a copy each half hour": [
        _run(number, target="i-1", at=_START + number * _HOUR_S / 2) for number in range(40)
    ],
    "one fault on many hosts": [_run(number, at=_START + number * 5) for number in range(40)],
    "one easy target, hour by hour": [
        _run(number, target="i-1", at=_START + number * 2 * _HOUR_S) for number in range(40)
    ],
    "easy alerts that end by themselves": _many(40, agreement=Agreement.NEEDLESS),
    "alerts that nobody answers": _many(40, agreement=Agreement.OPEN),
    "refusals of easy alerts": _many(40, state=State.REFUSED, agreement=Agreement.MISSED),
    "marks by one person": _many(40, agreement=None, marked_right=True, marked_by="alice"),
    "marks by one person on needless acts": _many(
        40, agreement=Agreement.NEEDLESS, marked_right=True, marked_by="alice"
    ),
    "right copies beside a wrong one": [
        _run(number // 2, agreement=[Agreement.AGREE, Agreement.HEAVIER][number % 2])
        for number in range(40)
    ],
    "reboots that hide the fault for ten minutes": [
        _act(number, relapsed=True) for number in range(40)
    ],
    "cancelled before they fail": [_act(number, state=State.CANCELLED) for number in range(40)],
}


@pytest.mark.parametrize("game", _GAMES)
def test_it_is_not_gamed(game: str) -> None:
    runs = _GAMES[game]
    assert _why_not(runs)
    assert _why_not(runs, Mode.AUTO)


def test_an_easy_service_does_not_carry_another() -> None:
    """For all services each must do; a service on its own may be armed."""
    other = [
        _run(number, service="db-asg", target=f"i-db-{number}", agreement=Agreement.HEAVIER)
        for number in range(5)
    ]
    runs = [*_many(80), *other]
    assert _why_not(runs) == "in db-asg only 0 of 5 incidents were right"
    assert _why_not(_many(80), service="web-asg") == ""


def test_marks_of_several_people_and_what_people_did_count_together() -> None:
    """Five a person; so do comparisons with what people did."""
    marked = [
        _run(number, agreement=None, marked_right=True, marked_by=("ann", "bob")[number % 2])
        for number in range(20)
    ]
    assert _record(marked).decided.share.incidents == 10
    assert _why_not([*marked, *(_run(number) for number in range(20, 26))]) == ""


def test_an_earned_mode_falls_when_its_bound_is_no_longer_met() -> None:
    """One that was forced, or armed before bounds were asked, falls when the record says no."""
    right = [_act(number) for number in range(16)]
    assert crossed(_arming(), _record(right), _BOUNDS) is None
    failed = [*right, _act(16, state=State.FAILED)]
    assert crossed(_arming(), _record(failed), _BOUNDS) == (
        "16 of 17 incidents were right: the lower 95 % bound is 0.73, below 0.8"
    )
    assert crossed(_arming(earned=False), _record(failed), _BOUNDS) is None
    assert crossed(_arming(earned=False), _record([]), _BOUNDS) is None
    worse = [_act(number, state=State.FAILED) for number in range(8)]
    assert "upper 95 % bound is 0.32" in (
        crossed(_arming(earned=False), _record(worse), _BOUNDS) or ""
    )


def test_a_mode_falls_on_relapses_and_on_harm() -> None:
    """A single relapse is chance; a wrong mark from before it was armed was answered by arming."""
    runs = [_act(number, relapsed=number < 1) for number in range(4)]
    assert crossed(_arming(earned=False), _record(runs), _BOUNDS) is None
    runs = [_act(number, relapsed=number < 2) for number in range(9)]
    assert crossed(_arming(earned=False), _record(runs), _BOUNDS) == (
        "2 of 9 recoveries did not last (allowed: 1 in 5)"
    )
    harm = [_act(1, marked_right=False, marked_by="ann")]
    assert crossed(_arming(earned=False), _record(harm), _BOUNDS) == "people marked an act as wrong"
    later = _arming(earned=False, since=_START + 2 * _DAY_S)
    assert crossed(later, _record(harm), _BOUNDS) is None


def test_a_budget_is_spent_by_the_third_error() -> None:
    errors = [_START, _START + 1, _START + 2]
    assert spent(errors[:2], _BOUNDS, 0.0) is None
    assert "3 acts of a week" in (spent(errors, _BOUNDS, 0.0) or "")
    assert spent(errors, _BOUNDS, _START + 1) is None
    assert spent(errors, Bounds(agreement=0.8, incidents=10, errors=0), 0.0) is None
