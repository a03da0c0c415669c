"""Looks at the members of the watched groups at an interval, and scores them.

The CPU of one look is bounded: hosts that left their usual range are scored first, then those that
were scored longest ago.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import structlog

from models.inference import outlook
from models.inference.artifact import Model
from models.inference.outlook import Outlook
from receiver.evidence.prometheus.answers import PrometheusError
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.roles.exporter import Exporter
from receiver.playbooks.matchers import Matcher
from receiver.runtime.periodic import Periodic
from receiver.watch import queries
from receiver.watch.member import Member
from receiver.watch.reader import MemberReader, batches
from receiver.watch.scores import Scores

_log = structlog.get_logger()
MEMBERS_MAX = 1000
_STEP_S = 15.0
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
    reader: MemberReader = field(init=False)
    _began: float = field(default=0.0, init=False)
    _periodic: Periodic = field(init=False)

    def __post_init__(self) -> None:
        self.reader = MemberReader(interval_s=self.interval_s, failed=self._note_failure)
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
        for some in batches(members):
            if not self._periodic.stopping.is_set():
                self.reader.read(some, at, step)
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
                    if not queries.is_instance(name):
                        continue
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

    def _load_pasts(self, members: Iterable[Member], at: float) -> None:
        """Read the past of new members, one by one, within the CPU that a look may take."""
        for member in members:
            if member.recent.until is not None:
                continue
            if self._has_spent() or self._periodic.stopping.is_set():
                return
            self.reader.load_past(member, at)

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

    def _note_failure(self, error: PrometheusError) -> None:
        self.scores.failed_queries += 1
        _log.debug("watch_query_failed", reason=str(error))


def _siblings(member: Member, group: Sequence[Member]) -> Sequence[Member]:
    """The next few in the group, whose metrics are known."""
    place = group.index(member)
    others = [*group[place + 1 :], *group[:place]]
    return [other for other in others if other.recent.until is not None][:_SIBLINGS]
