"""Reads what is new of watched members: many in one query, and the past of a new one."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from models.features.evidence import Series
from receiver.evidence.prometheus.answers import LabelledSeries, PrometheusError
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.range_queries import end_of_history
from receiver.evidence.role_series import by_instance
from receiver.watch import queries
from receiver.watch.grid import Grid
from receiver.watch.member import RECENT_S, SLOW_STEP_S, WEEK_S, Member, key_of

# Hosts in one query: an answer of more would hold other threads up while it is parsed.
_AT_ONCE = 100
_HISTORY_STEP_S = 300.0


@dataclass(frozen=True, kw_only=True)
class MemberReader:
    """Extends the grids of members; `failed` is called for each query without an answer."""

    interval_s: float
    failed: Callable[[PrometheusError], None]

    def read(self, members: Sequence[Member], at: float, step: float) -> None:
        """Extend all grids of members that were read until the same moments."""
        first = members[0]
        if first.recent.until is None:
            return
        ids = [member.id for member in members]
        self._extend(members, lambda m: m.recent, queries.present(ids, first.exporter), at, step)
        end, until = end_of_history(at), first.history.until
        if until is not None and end > until:
            means = queries.means(ids, first.exporter)
            self._extend(members, lambda m: m.history, means, end, _HISTORY_STEP_S)
        self._read_resources(members, at)

    def _extend(
        self,
        members: Sequence[Member],
        grid: Callable[[Member], Grid],
        expr: str,
        end: float,
        step: float,
    ) -> None:
        length_s, until = grid(members[0]).length_s, grid(members[0]).until
        start = max(end - length_s, end if until is None else until + step)
        times = _steps(start, end, step)
        answer = self._query(members[0].prometheus, expr, times, step) if times else None
        if answer is None:
            return
        samples = by_instance(answer, end, _instance_of) or {}
        for member in members:
            grid(member).extend(times, samples.get(member.id, {}))

    def _read_resources(self, members: Sequence[Member], at: float) -> None:
        first = members[0]
        until = first.fast.until or at - self.interval_s
        # At a look that comes early there is nothing new.
        times = _steps(max(until + self.interval_s, at - first.fast.length_s), at, self.interval_s)
        expr = queries.resources(member.id for member in members)
        answer = self._query(first.prometheus, expr, times, self.interval_s) if times else None
        if answer is None:
            return
        used = _by_resource(answer)
        for member in members:
            member.extend_resources(times, used.get(member.id, {}))

    def load_past(self, member: Member, at: float) -> None:
        """Read a member's week, two hours and day; nothing is kept where a query fails."""
        end, ids = end_of_history(at), [member.id]
        history = Grid(length_s=WEEK_S)
        means = queries.means(ids, member.exporter)
        for grid, expr, last, length_s, step in (
            (history, means, end, WEEK_S, _HISTORY_STEP_S),
            (member.recent, queries.present(ids, member.exporter), at, RECENT_S, 60.0),
        ):
            times = _steps(last - length_s, last, step)
            answer = self._query(member.prometheus, expr, times, step)
            if answer is None:
                return
            samples = by_instance(answer, last, _instance_of) or {}
            grid.extend(times, samples.get(member.id, {}))
        member.history = history
        for grid, step in ((member.slow, SLOW_STEP_S), (member.fast, self.interval_s)):
            times = _steps(at - grid.length_s, at, step)
            answer = self._query(member.prometheus, queries.resources(ids), times, step)
            grid.extend(times, _by_resource(answer or ()).get(member.id, {}))

    def _query(
        self, prometheus: Prometheus, expr: str, times: Sequence[float], step: float
    ) -> tuple[LabelledSeries, ...] | None:
        """None without an answer."""
        try:
            return prometheus.range_query(expr, start=times[0], end=times[-1], step=step)
        except PrometheusError as error:
            self.failed(error)
            return None


def batches(members: Iterable[Member]) -> Iterator[Sequence[Member]]:
    """Members that one query can read: of one server and exporter, read until the same moments."""
    alike: defaultdict[tuple[object, ...], list[Member]] = defaultdict(list)
    for member in members:
        grids = (member.recent, member.history, member.fast)
        reached = tuple(grid.until for grid in grids)
        alike[id(member.prometheus), member.exporter.name, reached].append(member)
    for some in alike.values():
        for first in range(0, len(some), _AT_ONCE):
            yield some[first : first + _AT_ONCE]


def _by_resource(answer: Iterable[LabelledSeries]) -> dict[str, dict[str, Series]]:
    used: defaultdict[str, dict[str, Series]] = defaultdict(dict)
    for series in answer:
        name = series.labels.get("instance_id", "")
        used[name][key_of(series.labels)] = Series(series.times, series.values)
    return used


def _steps(start: float, end: float, step: float) -> list[float]:
    """The times of a range query that ends at `end`."""
    return [end - step * number for number in range(int((end - start) // step), -1, -1)]


def _instance_of(labels: Mapping[str, str]) -> str | None:
    return labels.get("instance_id")
