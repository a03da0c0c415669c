"""The watch of a group, with a Prometheus at the HTTP edge and the shipped model."""

import re
from collections.abc import Iterator
from itertools import count

import pytest

from bench.load.watch_cost import PlayedPrometheus, calm, play
from receiver.watch.watcher import MEMBERS_MAX, Watcher

_WEB = {f"i-{number:08x}": "web" for number in range(3)}
_ILL, _WELL, *_ = _WEB
_ROLES = {"cpu_busy", "load1", "memory_used_effective", "net_rx_bytes", "disk_write_bytes"}
_BEGAN = 1_800_000_010.0


def _value(host: str, name: str, at: float) -> float | None:
    """Calm, but for one host: a runaway process, and a disk that it fills."""
    if name not in _ROLES and name != "disk":
        return None
    value = calm(host, name, at)
    if name == "disk":
        grown = 0.0 if host != _ILL else max(0.0, at - _BEGAN) / 500
        return min(0.5 + grown, 1.0)
    if host == _ILL and at >= _BEGAN and name in {"cpu_busy", "load1"}:
        return 1.0 if name == "cpu_busy" else 40.0
    return value


@pytest.fixture(scope="module")
def watched() -> tuple[PlayedPrometheus, Watcher]:
    """After the pasts were read, and a minute and a half of a fault, by looks 5 s apart."""
    played, watcher = play(_WEB, _value, interval_s=5)
    watcher.cpu = lambda: 0.0
    for _ in range(20):
        watcher.look()
        played.now += 5
    return played, watcher


def _told(watcher: Watcher, metric: str, host: str) -> dict[str, float]:
    """Values of the host's series of a metric, by what else their labels say."""
    pattern = rf'smartcloudops_watch_{metric}{{asg="web",instance_id="{host}"(?:,([^}}]*))?}} (\S+)'
    return {
        rest: float(value) for rest, value in re.findall(pattern, watcher.scores.text().decode())
    }


def test_a_fault_is_told_before_any_alert(watched: tuple[PlayedPrometheus, Watcher]) -> None:
    """Of the host that has it, and of no sibling."""
    _, watcher = watched
    ((kind, probability),) = _told(watcher, "fault_probability", _ILL).items()
    assert (kind, probability > 0.9) == ('kind="runaway_process"', True)
    assert _told(watcher, "unusual", _ILL)[""] > 1
    assert max(_told(watcher, "fault_probability", _WELL).values()) < 0.5
    assert _told(watcher, "unusual", _WELL)[""] <= 1


def test_a_disk_that_fills_is_foreseen(watched: tuple[PlayedPrometheus, Watcher]) -> None:
    """With its mount point, an interval, and the time that is left."""
    played, watcher = watched
    left = 250 - (played.now - 5 - _BEGAN)
    key = 'mountpoint="/",resource="disk"'
    assert _told(watcher, "exhaustion_seconds", _ILL)[key] == pytest.approx(left, abs=5)
    earliest = _told(watcher, "exhaustion_earliest_seconds", _ILL)[key]
    assert earliest <= left + 5
    assert earliest <= _told(watcher, "exhaustion_latest_seconds", _ILL)[key]
    assert _told(watcher, "exhaustion_seconds", _WELL) == {}


def test_a_look_asks_a_few_questions_for_all(watched: tuple[PlayedPrometheus, Watcher]) -> None:
    """Who is there, how they are, what they use; and the means of five minutes once in a while."""
    played, watcher = watched
    before = len(played.queries)
    watcher.look()
    assert len(played.queries) - before <= 4


def test_a_prometheus_that_is_away_takes_the_scores_with_it() -> None:
    """They are dropped when they are old, and come back with it."""
    played, watcher = play(_WEB, _value, interval_s=60)
    watcher.cpu = lambda: 0.0
    watcher.look()
    assert _told(watcher, "unusual", _WELL)
    played.down = True
    for _ in range(12):
        played.now += 60
        watcher.look()
    assert not _told(watcher, "unusual", _WELL)
    played.down = False
    for _ in range(2):
        played.now += 60
        watcher.look()
    assert _told(watcher, "unusual", _WELL)


def test_who_left_the_usual_range_is_scored_first() -> None:
    """Where a look has CPU for a single host."""
    played, watcher = play(_WEB, _value, interval_s=60)
    watcher.cpu = lambda: 0.0
    watcher.look()
    played.now = _BEGAN + 65
    seconds: Iterator[int] = count(0, 1000)
    watcher.cpu = lambda: float(next(seconds))
    before = _told(watcher, "unusual", _WELL)
    watcher.look()
    assert _told(watcher, "unusual", _ILL)[""] > 1
    assert _told(watcher, "unusual", _WELL) == before


def test_the_number_of_series_is_bounded() -> None:
    """Those that are left out are counted; what is no instance id enters no query."""
    many = {f"i-{number:08x}": "web" for number in range(MEMBERS_MAX + 3)} | {'x"': "web"}
    _, watcher = play(many, lambda *_: None)
    seconds = count(0, 1000)
    watcher.cpu = lambda: float(next(seconds))
    watcher.look()
    told = watcher.scores.text().decode()
    assert f"smartcloudops_watch_members {MEMBERS_MAX:.1f}" in told
    assert "smartcloudops_watch_left_out 3.0" in told


def test_nobody_is_watched_where_the_setting_is_empty() -> None:
    """And a replica that leads no longer tells nothing."""
    played, watcher = play(_WEB, _value)
    watcher.matchers = ()
    watcher.start()
    watcher.stop()
    assert played.queries == []
    watcher.look()
    watcher.stop()
    assert "instance_id" not in watcher.scores.text().decode()
