"""A watched instance: what is known of its past, and its scores."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isnan

from models.features.evidence import Evidence, Series
from models.inference import outlook
from models.inference.exhaustion import WINDOWS, Exhaustion, forecast
from models.inference.outlook import Outlook
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.roles.exporter import Exporter
from receiver.runtime.rfc3339 import DAY_S
from receiver.watch.grid import Grid

# As in the evidence of a decision.
WEEK_S, RECENT_S, PEERS_S = 7 * DAY_S, 7_200.0, 1_800.0
# A resource's day in this step tells what fills in days.
SLOW_STEP_S = 1_200.0


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """When a resource runs out; `mountpoint` is that of a disk."""

    resource: str
    mountpoint: str
    exhaustion: Exhaustion


@dataclass(kw_only=True, eq=False)
class Member:
    """`fast` and `slow` have the used share by (resource, mountpoint), as `key_of` joins them."""

    id: str
    group: str
    prometheus: Prometheus
    exporter: Exporter
    interval_s: float
    history: Grid = field(default_factory=lambda: Grid(length_s=WEEK_S))
    recent: Grid = field(default_factory=lambda: Grid(length_s=RECENT_S))
    slow: Grid = field(default_factory=lambda: Grid(length_s=DAY_S))
    fast: Grid = field(init=False)
    outlook: Outlook = field(default_factory=Outlook)
    scored_at: float = 0.0
    forecasts: tuple[Forecast, ...] = ()
    _ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict, init=False)
    _ranges_of: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.fast = Grid(length_s=WINDOWS[-1] * self.interval_s)

    def evidence(self, at: float, siblings: Iterable["Member"]) -> Evidence:
        """What a decision now would read, without a second week."""
        return Evidence(
            target=self.id,
            at=at,
            history=self.history.series(),
            recent=self.recent.series(),
            peers={other.id: other.recent.series(at - PEERS_S) for other in siblings},
        )

    def has_moved(self) -> bool:
        """Whether a role is beyond nearly all of its past, which is read again every hour."""
        until = self.history.until or 0.0
        if until >= self._ranges_of + 3600:
            self._ranges, self._ranges_of = outlook.usual_ranges(self.history.series()), until
        ranges, nowhere = self._ranges, (float("-inf"), float("inf"))
        return any(
            not low <= value <= high
            for role, value in self.recent.latest().items()
            for low, high in (ranges.get(role, nowhere),)
        )

    def extend_resources(self, times: list[float], used: Mapping[str, Series]) -> None:
        """Add the used shares of later times; one of them every `SLOW_STEP_S` is kept for a day."""
        self.fast.extend(times, used)
        for time in times:
            if time // SLOW_STEP_S > (self.slow.until or 0.0) // SLOW_STEP_S:
                self.slow.extend([time], used)

    def forecast(self, since: float) -> None:
        """Bring the forecasts up to date; none from samples before `since`.

        Of a resource with mount points, the first to run out.
        """
        by_resource: dict[str, Forecast] = {}
        for key, used in self.fast.latest().items() if (self.fast.until or 0.0) >= since else ():
            exhaustion = self._exhaustion(key, used)
            if exhaustion is None:
                continue
            resource, _, mountpoint = key.partition(" ")
            found = Forecast(resource=resource, mountpoint=mountpoint, exhaustion=exhaustion)
            first = by_resource.setdefault(resource, found)
            if exhaustion.seconds < first.exhaustion.seconds:
                by_resource[resource] = found
        self.forecasts = tuple(by_resource.values())

    def _exhaustion(self, key: str, used: float) -> Exhaustion | None:
        fast, slow, times = self.fast.columns[key], self.slow.columns.get(key), self.slow.times
        if slow is None or (not _rises(fast, used) and not _rises(slow, used)):
            return None
        newest = bisect_left(times, self.fast.times[0])
        highest = max((value for value in slow[:newest] if not isnan(value)), default=0.0)
        soon = forecast(self.fast.times, fast, highest)
        if soon is not None:
            return soon
        now = self.fast.times[-1]
        older = bisect_left(times, now)
        return forecast([*times[:older], now], [*slow[:older], used])


def _rises(column: "array[float]", used: float) -> bool:
    """Whether it is worth the arithmetic."""
    return len(column) >= WINDOWS[0] and used > column[-WINDOWS[0]]


def key_of(labels: Mapping[str, str]) -> str:
    """The column of a series of a resource."""
    return f"{labels.get('resource', '')} {labels.get('mountpoint', '')}".strip()
