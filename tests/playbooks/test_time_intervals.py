"""Windows by Alertmanager's time intervals, against an independent implementation, over DST."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dateutil import tz  # type: ignore[import-untyped] # it has no stubs here
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from receiver.playbooks.schema import Playbook
from receiver.playbooks.time_intervals import Calendar, TimeInterval

# Both hemispheres, half hours, a shift of half an hour, a day that was left out, and no DST.
_ZONES = [
    *("UTC", "Europe/Berlin", "America/New_York", "America/St_Johns", "Australia/Lord_Howe"),
    *("Australia/Sydney", "Asia/Kolkata", "Asia/Kathmandu", "Pacific/Apia", "Africa/Casablanca"),
    *("America/Santiago", "Asia/Tehran"),
]
_DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_MINUTE_S = 60


def _is_open(interval: dict[str, Any], at: float) -> bool:
    """By dateutil's zones, each part written out."""
    local = datetime.fromtimestamp(at, UTC).astimezone(tz.gettz(interval["location"]))
    next_month = (local.replace(tzinfo=None, day=28) + timedelta(days=4)).replace(day=1)
    length = (next_month - timedelta(days=1)).day
    wall = f"{local:%H:%M}"
    times = [(each["start_time"], each["end_time"]) for each in interval["times"]]
    weekdays = {
        day
        for text in interval["weekdays"]
        for day in range(
            _DAYS.index(text.split(":")[0]), _DAYS.index(text.rsplit(":", maxsplit=1)[-1]) + 1
        )
    }
    days = {
        day if day > 0 else length + 1 + day
        for text in interval["days_of_month"]
        for day in range(int(text.split(":")[0]), int(text.rsplit(":", maxsplit=1)[-1]) + 1)
    }
    return (
        (not times or any(start <= wall < end for start, end in times))
        and (not weekdays or local.weekday() in weekdays)
        and (not days or local.day in days)
    )


@st.composite
def _intervals(draw: st.DrawFn) -> dict[str, Any]:
    first, last = sorted(draw(st.lists(st.integers(0, 6), min_size=2, max_size=2)))
    start, end = sorted(draw(st.lists(st.integers(0, 95), min_size=2, max_size=2, unique=True)))
    times = [{"start_time": _wall(start), "end_time": _wall(end)}]
    return {
        "times": draw(st.sampled_from([[], times])),
        "weekdays": draw(st.sampled_from([[], [f"{_DAYS[first]}:{_DAYS[last]}"]])),
        "days_of_month": draw(st.sampled_from([[], ["1:7"], ["-3:-1"], ["24:31"]])),
        "location": draw(st.sampled_from(_ZONES)),
    }


def _wall(quarter: int) -> str:
    return f"{quarter // 4:02d}:{quarter % 4 * 15:02d}"


_SPRING = {"times": [{"start_time": "02:00", "end_time": "03:00"}], "location": "Europe/Berlin"}
_ANY: dict[str, list[str]] = {"weekdays": [], "days_of_month": []}


@settings(max_examples=60, deadline=None)
@given(interval=_intervals(), at=st.integers(1_262_304_000, 1_893_456_000))
# 28 March 2027: the hour from 02:00 is left out; 31 October 2027: it comes twice.
@example(interval={**_SPRING, **_ANY}, at=1_806_192_000)
@example(interval={**_SPRING, **_ANY}, at=1_824_940_800)
# Samoa left out 30 December 2011.
@example(interval={**_SPRING, **_ANY, "location": "Pacific/Apia"}, at=1_325_203_200)
def test_a_window_is_open_as_an_independent_reading_says(interval: dict[str, Any], at: int) -> None:
    """At any moment; and it opens at the first minute at which that reading has it open."""
    ours = TimeInterval.model_validate(interval)
    for moment in range(at, at + 26 * 3600, 1201):
        assert ours.contains(moment) == _is_open(interval, moment), moment
    opens = ours.opens_at(at)
    assert opens is not None
    assert _is_open(interval, opens)
    before = range(max(at, int(opens) - 2 * 86_400), int(opens), 7 * _MINUTE_S)
    assert not any(_is_open(interval, moment) for moment in before)
    if opens > at:
        assert not _is_open(interval, opens - 1)


def test_an_interval_closes_by_the_clock_of_its_zone() -> None:
    """At the minute; and one that does not close is asked no further than wanted."""
    night = TimeInterval.model_validate(_SPRING)
    at = datetime(2027, 6, 1, 0, 30, 10, tzinfo=UTC).timestamp()
    assert night.closes_at(at, at + 86_400) == datetime(2027, 6, 1, 1, 0, tzinfo=UTC).timestamp()
    assert TimeInterval().closes_at(at, at + 900) == at + 900


def test_a_window_that_is_over_never_opens() -> None:
    """And one of a leap day waits for it, for years if need be."""
    over = Calendar.model_validate({"time_intervals": [{"years": ["2020:2022"]}]})
    assert over.opens_at(1_800_000_000) is None
    leap = TimeInterval(months=["february"], days_of_month=["29"])
    assert leap.opens_at(1_709_251_200) == datetime(2028, 2, 29, tzinfo=UTC).timestamp()
    whole = TimeInterval.model_validate({"times": [{"start_time": "23:00", "end_time": "24:00"}]})
    assert whole.contains(datetime(2027, 1, 1, 23, 59, 59, tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    "interval",
    [
        {"weekdays": ["sunday:monday"]},
        {"weekdays": ["1:5"]},
        {"days_of_month": ["0"]},
        {"days_of_month": ["32"]},
        {"months": ["13"]},
        {"months": ["brumaire"]},
        {"years": ["1960"]},
        {"location": "Mars/Olympus"},
        {"location": "../etc/passwd"},
        {"times": [{"start_time": "10:00", "end_time": "09:00"}]},
        {"times": [{"start_time": "10:00", "end_time": "25:00"}]},
    ],
)
def test_what_alertmanager_would_refuse_is_refused(interval: dict[str, Any]) -> None:
    """When the playbook is loaded, not in the night."""
    with pytest.raises(ValidationError):
        TimeInterval.model_validate(interval)


def test_a_playbook_takes_hours_or_intervals_as_its_window() -> None:
    """What was written for an earlier release goes on working."""
    rest = {"name": "a", "match": ['alertname="a"'], "steps": [{"action": "reboot_instance"}]}
    hours = {"weekdays": ["saturday"], "start_time": "02:00", "end_time": "05:00"}
    night = {"times": [{"start_time": "02:00", "end_time": "05:00"}], "location": "Asia/Tehran"}
    old = Playbook.model_validate({**rest, "window": hours})
    new = Playbook.model_validate({**rest, "window": {"time_intervals": [night]}})
    assert str(old.window) == "the window from 02:00 to 05:00 UTC"
    assert str(new.window) == "its time intervals (Asia/Tehran)"
    assert old.digest != new.digest
