"""Looks at the members of the watched groups at an interval, and scores them.

The steady state costs three queries for a hundred hosts. The CPU of one look is bounded: hosts that
left their usual range are scored first, then those that were scored longest ago.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from models.features.evidence import Series
from models.features.promql import Exporter
from models.inference import outlook
from models.inference.artifact import Model
from models.inference.outlook import Outlook
from receiver.evidence.prometheus.answers import LabelledSeries, PrometheusError
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.range_queries import end_of_history
from receiver.evidence.role_series import by_instance
from receiver.playbooks.matchers import Matcher
from receiver.runtime.periodic import Periodic
from receiver.runtime.rfc3339 import DAY_S
from receiver.watch import queries
from receiver.watch.grid import Grid
from receiver.watch.member import RECENT_S, SLOW_STEP_S, WEEK_S, Member, key_of
from receiver.watch.scores import Scores

_log = structlog.get_logger()
MEMBERS_MAX = 1000
# Hosts in one query: an answer of more would hold other threads up while it is parsed.
_AT_ONCE = 100
_HISTORY_STEP_S, _STEP_S = 300.0, 15.0
# The share of a core that one look may take.
CPU_SHARE = 0.04
# A score is dropped after so many looks.
_LASTS_LOOKS = 10
# As many siblings as a decision compares in a small group; more would not change an outlook.
_SIBLINGS = 5


@dataclass(kw_only=True)
class Watcher:
    """A task of the leader, in its own thread and with its own queries.

    `exporters` and `model` give what is in use now, `clock` epoch seconds, `cpu` the seconds of CPU
    that the thread has used. No query of a decision waits for it.
    """

    matchers: Sequence[Matcher]
    interval_s: float
    prometheus: Prometheus
    exporters: Callable[[], Sequence[Exporter]]
    model: Callable[[], Model | None]
    scores: Scores
    clock: Callable[[], float] = time.time
    cpu: Callable[[], float] = time.thread_time
    scored: int = field(default=0, init=False)
    members: dict[str, Member] = field(default_factory=dict, init=False)
    _began: float = field(default=0.0, init=False)
    _periodic: Periodic = field(init=False)

    def __post_init__(self) -> None:
        self._periodic = Periodic(
            "watch", self.interval_s, self._run_once, at_once=True, stop_wait_s=0.0
        )

    def start(self) -> None:
        """Watch, if the settings name anyone."""
        if self.matchers:
            self._periodic.start()

    def stop(self) -> None:
        """Stop without waiting for a running query; another replica has the scores then."""
        self._periodic.stop()
        self.scores.publish(())

    def _run_once(self) -> None:
        stopping = self._periodic.stopping
        try:
            self.look()
        except Exception as error:  # noqa: BLE001 a failed look must not end the thread
            _log.warning("watch_failed", error=type(error).__name__)
        if stopping.is_set():
            self.scores.publish(())

    def look(self) -> None:
        """Read what is new of all members, score those that most need it, and publish."""
        self._began = self.cpu()
        # Whole steps: frontends such as Thanos' move a range's start and end to them.
        step = min(self.interval_s, _STEP_S)
        at = self.clock() // step * step
        self._find_members(at)
        members = sorted(self.members.values(), key=lambda member: (member.group, member.id))
        for some in _batches(members):
            if not self._periodic.stopping.is_set():
                self._read(some, at, step)
        self._load_pasts(members, at)
        self._score(members, at)
        self.scores.cpu_s += self.cpu() - self._began
        self.scores.publish(members)

    def _find_members(self, at: float) -> None:
        """Who is watched now; after a failed query those before."""
        found: dict[str, Member] = {}
        for prometheus in self.prometheus.each:
            for exporter in self.exporters():
                try:
                    samples = prometheus.instant_query(
                        queries.members(self.matchers, exporter), at=at
                    )
                except PrometheusError as error:
                    self._note_failure(error)
                    return
                for sample in samples:
                    name, group = sample.labels["instance_id"], sample.labels["asg"]
                    found.setdefault(name, self._member(name, group, prometheus, exporter))
        self.scores.left_out = max(0, len(found) - MEMBERS_MAX)
        self.members = {name: found[name] for name in sorted(found)[:MEMBERS_MAX]}

    def _member(self, name: str, group: str, prometheus: Prometheus, exporter: Exporter) -> Member:
        known = self.members.get(name)
        if known is not None and (known.group, known.exporter) == (group, exporter):
            return known
        return Member(
            id=name,
            group=group,
            prometheus=prometheus,
            exporter=exporter,
            interval_s=self.interval_s,
        )

    def _read(self, members: Sequence[Member], at: float, step: float) -> None:
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

    def _load_pasts(self, members: Iterable[Member], at: float) -> None:
        """Read the past of new members, one by one, within the CPU that a look may take."""
        for member in members:
            if member.recent.until is not None:
                continue
            if self._has_spent() or self._periodic.stopping.is_set():
                return
            self.load_past(member, at)

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
        times = _steps(at - DAY_S, at, SLOW_STEP_S)
        answer = self._query(member.prometheus, queries.resources(ids), times, SLOW_STEP_S)
        member.slow.extend(times, _by_resource(answer or ()).get(member.id, {}))

    def _score(self, members: Sequence[Member], at: float) -> None:
        groups: defaultdict[str, list[Member]] = defaultdict(list)
        since = at - _LASTS_LOOKS * self.interval_s
        for member in members:
            groups[member.group].append(member)
            if member.scored_at < since:
                member.outlook = Outlook()
            member.forecast(since)
        model = self.model()
        ready = [member for member in members if member.recent.until == at]
        ready.sort(key=lambda member: (not member.has_moved(), member.scored_at))
        for number, member in enumerate(ready):
            if number and (self._has_spent() or self._periodic.stopping.is_set()):
                return
            evidence = member.evidence(at, _siblings(member, groups[member.group]))
            member.outlook, member.scored_at = outlook.score(model, evidence), at
            self.scored = number + 1

    def _has_spent(self) -> bool:
        return self.cpu() - self._began > CPU_SHARE * self.interval_s

    def _query(
        self, prometheus: Prometheus, expr: str, times: Sequence[float], step: float
    ) -> tuple[LabelledSeries, ...] | None:
        """None without an answer."""
        try:
            return prometheus.range_query(expr, start=times[0], end=times[-1], step=step)
        except PrometheusError as error:
            self._note_failure(error)
            return None

    def _note_failure(self, error: PrometheusError) -> None:
        self.scores.failed_queries += 1
        _log.debug("watch_query_failed", reason=str(error))


def _batches(members: Iterable[Member]) -> Iterator[Sequence[Member]]:
    """Members that one query can read: of one server and exporter, read until the same moments."""
    alike: defaultdict[tuple[object, ...], list[Member]] = defaultdict(list)
    for member in members:
        grids = (member.recent, member.history, member.fast)
        reached = tuple(grid.until for grid in grids)
        alike[id(member.prometheus), member.exporter.name, reached].append(member)
    for some in alike.values():
        for first in range(0, len(some), _AT_ONCE):
            yield some[first : first + _AT_ONCE]


def _siblings(member: Member, group: Sequence[Member]) -> Sequence[Member]:
    """The next few in the group, whose metrics are known."""
    place = group.index(member)
    others = [*group[place + 1 :], *group[:place]]
    return [other for other in others if other.recent.until is not None][:_SIBLINGS]


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
