"""What the console shows of many runs, computed once for all browsers."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from fastapi import Request

from receiver.api.parts import Parts
from receiver.console.home.recent import Recent
from receiver.console.home.service_health import Line, read_health
from receiver.runs.queries import groups, stats
from receiver.runs.queries.groups import RunGroup
from receiver.runs.queries.stats import Period
from receiver.runs.queries.unremedied import Unremedied, UnremediedAlerts
from receiver.runtime.rfc3339 import DAY_S

_HEALTH_LASTS_S, _WEEK_LASTS_S = 5.0, 10.0
_DAYS, _RECENT_MOST = 7, 12


@dataclass(frozen=True, kw_only=True)
class Overview:
    parts: Parts
    _subjects: Recent[Sequence[Unremedied]] = field(default_factory=Recent, init=False)
    _run_ids: Recent[Sequence[str]] = field(default_factory=Recent, init=False)
    _ended: Recent[Sequence[RunGroup]] = field(default_factory=Recent, init=False)
    _days: Recent[Sequence[Period]] = field(
        default_factory=lambda: Recent(lasts_s=_WEEK_LASTS_S), init=False
    )
    _health: Recent[list[Line]] = field(
        default_factory=lambda: Recent(lasts_s=_HEALTH_LASTS_S), init=False
    )

    @property
    def alerts(self) -> UnremediedAlerts:
        return UnremediedAlerts(database=self.parts.database, inbox=self.parts.inbox)

    def unremedied(self) -> Sequence[Unremedied]:
        """The alerts that nobody is on, the latest subject first."""
        return self._subjects.read(lambda: self.alerts.by_subject(self.parts.clock()))

    def unremedied_runs(self) -> Sequence[str]:
        """Their runs, oldest first."""
        return self._run_ids.read(lambda: self.alerts.run_ids(self.parts.clock()))

    def forget(self) -> None:
        """Read again what a person has just changed."""
        self._subjects.forget()
        self._run_ids.forget()

    def ended(self) -> Sequence[RunGroup]:
        """The latest groups of runs that ended in the last day."""
        return self._ended.read(self._read_ended)

    def _read_ended(self) -> Sequence[RunGroup]:
        with self.parts.database.read() as connection:
            return groups.ended_since(connection, self.parts.clock() - DAY_S, _RECENT_MOST)

    def days(self) -> Sequence[Period]:
        """Seven days."""
        return self._days.read(self._read_days)

    def _read_days(self) -> Sequence[Period]:
        with self.parts.database.read() as connection:
            return stats.count_by_day(connection, self.parts.clock(), _DAYS)

    def health(self) -> list[Line]:
        return self._health.read(lambda: read_health(self.parts))


def overview_of(request: Request) -> Overview:
    overview: Overview = request.app.state.overview
    return overview
