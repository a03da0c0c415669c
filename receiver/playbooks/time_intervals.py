"""Alertmanager's time intervals, with zones: when a playbook's runs may begin.

All parts of an interval must fit the local time; a part that is left out fits any.
https://prometheus.io/docs/alerting/latest/configuration/#time_interval-0
"""

from calendar import monthrange
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS = (
    *("january", "february", "march", "april", "may", "june", "july"),
    *("august", "september", "october", "november", "december"),
)
_DAYS_MAX, _YEARS = 31, (1970, 9999)
_MINUTE_S, _HOUR_S = 60, 3600
# No interval is sought further ahead than a leap day may be away.
_HORIZON_DAYS = 9 * 366
# No clock is moved by more at once, apart from dates that a zone leaves out.
_SHIFT_S = 3 * _HOUR_S
_Time = Annotated[str, StringConstraints(pattern=r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$")]
_Range = tuple[int, int]


def _number(text: str, names: Sequence[str], first: int) -> int:
    return names.index(text) + first if text in names else int(text)


def _ranges(
    texts: Sequence[str], least: int, most: int, names: Sequence[str] = (), first: int = 0
) -> list[_Range]:
    """`["1:5", "saturday"]` as numbers. Raises ValueError for what is no range in the bounds."""
    ranges = []
    for text in texts:
        start, _, end = text.lower().partition(":")
        try:
            low, high = (_number(part, names, first) for part in (start, end or start))
        except ValueError:
            raise ValueError(f"{text!r} is not one of them, nor a range FROM:TO") from None
        same_side = (low < 0) == (high < 0)
        if not (least <= low <= most and least <= high <= most) or (same_side and low > high):
            raise ValueError(f"{text!r} is not a range from {least} to {most}")
        ranges.append((low, high))
    return ranges


def _check_weekdays(texts: list[str]) -> list[str]:
    if any(text.split(":")[0].lstrip("-").isdigit() for text in texts):
        raise ValueError("write weekdays by their names")
    _ranges(texts, 0, 6, _WEEKDAYS)
    return texts


def _check_days(texts: list[str]) -> list[str]:
    if any(0 in day_range for day_range in _ranges(texts, -_DAYS_MAX, _DAYS_MAX)):
        raise ValueError("days of the month begin at 1, or at -1 from its end")
    return texts


def _check_months(texts: list[str]) -> list[str]:
    _ranges(texts, 1, 12, _MONTHS, 1)
    return texts


def _check_years(texts: list[str]) -> list[str]:
    _ranges(texts, *_YEARS)
    return texts


def _check_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"unknown time zone {name!r}; write one such as Europe/Berlin") from None
    return name


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TimeRange(_Part):
    """From `start_time` on, until before `end_time`, which may be 24:00, of the same day."""

    start_time: _Time
    end_time: _Time

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.start_time >= self.end_time:
            raise ValueError("end_time must be later on the same day than start_time")
        return self

    def contains(self, minute_of_day: int) -> bool:
        return _minutes(self.start_time) <= minute_of_day < _minutes(self.end_time)


class TimeInterval(_Part):
    """Local times in the zone `location`; negative `days_of_month` count from the month's end."""

    times: list[TimeRange] = Field(default_factory=list)
    weekdays: Annotated[list[str], AfterValidator(_check_weekdays)] = Field(default_factory=list)
    days_of_month: Annotated[list[str], AfterValidator(_check_days)] = Field(default_factory=list)
    months: Annotated[list[str], AfterValidator(_check_months)] = Field(default_factory=list)
    years: Annotated[list[str], AfterValidator(_check_years)] = Field(default_factory=list)
    location: Annotated[str, AfterValidator(_check_zone)] = "UTC"

    def contains(self, now: float) -> bool:
        """Whether it is open at `now` (epoch seconds)."""
        local = datetime.fromtimestamp(now, ZoneInfo(self.location))
        return self._has_date(local) and self._has_time(local)

    def opens_at(self, now: float) -> float | None:
        """When it is next open, `now` where it is; None within nine years.

        A day that fits is looked at minute by minute: a moved clock may leave out its beginning.
        """
        if self.contains(now):
            return now
        zone = ZoneInfo(self.location)
        today = datetime.fromtimestamp(now, zone).date()
        next_minute = now - now % _MINUTE_S + _MINUTE_S
        for day in (today + timedelta(days=days) for days in range(_HORIZON_DAYS)):
            if not self._has_date(day):
                continue
            midnight = datetime(day.year, day.month, day.day, tzinfo=zone).timestamp()
            first = int(max(next_minute, midnight - _SHIFT_S))
            for at in range(first, int(midnight + 24 * _HOUR_S + _SHIFT_S), _MINUTE_S):
                if self.contains(at):
                    return float(at)
        return None

    @cached_property
    def _dates(self) -> Sequence[Sequence[_Range]]:
        """Ranges of weekdays, months, years and days of the month."""
        return (
            _ranges(self.weekdays, 0, 6, _WEEKDAYS),
            _ranges(self.months, 1, 12, _MONTHS, 1),
            _ranges(self.years, *_YEARS),
            _ranges(self.days_of_month, -_DAYS_MAX, _DAYS_MAX),
        )

    def _has_date(self, local: date) -> bool:
        weekdays, months, years, days = self._dates
        last = monthrange(local.year, local.month)[1]
        from_start = [
            (low if low > 0 else last + 1 + low, high if high > 0 else last + 1 + high)
            for low, high in days
        ]
        return (
            _fits(local.weekday(), weekdays)
            and _fits(local.month, months)
            and _fits(local.year, years)
            and _fits(local.day, from_start)
        )

    def closes_at(self, now: float, latest: float) -> float:
        """When it is next closed, at most `latest`; `now` where it is."""
        at = now
        while at < latest and self.contains(at):
            at += _MINUTE_S - at % _MINUTE_S
        return min(at, latest)

    def _has_time(self, local: datetime) -> bool:
        minute = local.hour * 60 + local.minute
        return not self.times or any(each.contains(minute) for each in self.times)


class Calendar(_Part):
    """Open while any of its intervals is."""

    time_intervals: Annotated[list[TimeInterval], Field(min_length=1)]

    def opens_at(self, now: float) -> float | None:
        """When it is next open, in epoch seconds: `now` where it is; None if it never is."""
        openings = [interval.opens_at(now) for interval in self.time_intervals]
        return min((opening for opening in openings if opening is not None), default=None)

    def __str__(self) -> str:
        zones = dict.fromkeys(interval.location for interval in self.time_intervals)
        return f"its time intervals ({', '.join(zones)})"


class ChangeCalendars(_Part):
    """Open while all of these calendars of AWS Systems Manager are, by name or ARN."""

    change_calendars: Annotated[
        list[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:/-]+$", max_length=512)]],
        Field(min_length=1, max_length=10),
    ]

    def __str__(self) -> str:
        return f"the change calendar {' and '.join(self.change_calendars)}"


def dump(interval: TimeInterval) -> dict[str, Any]:
    """The interval as it was written, without what was left out."""
    return interval.model_dump(exclude_defaults=True)


def _fits(value: int, ranges: Sequence[_Range]) -> bool:
    return not ranges or any(low <= value <= high for low, high in ranges)


def _minutes(text: str) -> int:
    return int(text[:2]) * 60 + int(text[3:])
