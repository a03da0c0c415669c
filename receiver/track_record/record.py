"""A playbook's record: what speaks for its decisions, for its acts, and what went wrong."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, or_, select

from actions.place import HOME, Place
from actions.tables import is_at
from receiver.db.tables import runs
from receiver.playbooks.schema import Playbook
from receiver.runs.model import State
from receiver.track_record.incidents import Agreed, Answer, Judged, agreed
from receiver.track_record.judged_runs import COUNTED_S, judged_runs
from receiver.track_record.lift import Lift, lift, read_outcomes

# The budget of errors is for a week.
WEEK_S = 7 * 86_400.0


@dataclass(frozen=True, kw_only=True)
class TrackRecord:
    """The incidents of one version of a playbook in 90 days, for a service or for all.

    `decided` are those in which anything can be said of its decision, `acted` those in which it
    acted or a person denied it. `harmed` are the times (epoch seconds) of acts that a person marked
    wrong. `lift` is of all versions and services.
    """

    decided: Agreed = field(default_factory=Agreed)
    acted: Agreed = field(default_factory=Agreed)
    harmed: Sequence[float] = ()
    lift: Lift | None = None

    @property
    def relapsed(self) -> int:
        return self.acted.answers.get(Answer.RELAPSED, 0)

    @property
    def recovered(self) -> int:
        """The incidents in which its act helped, whether that lasted or not."""
        return self.acted.answers.get(Answer.HELPED, 0) + self.relapsed

    def stored(self, *, acting: bool) -> dict[str, Any]:
        """The figures of an arming, by the acts or by all decisions."""
        share = (self.acted if acting else self.decided).share
        return {
            "incidents": share.incidents,
            "agreed": share.right,
            "agreement_low": share.low,
            "agreement_high": share.high,
            "relapsed": self.relapsed,
            "harmed": len(self.harmed),
            "lift": self.lift.stored() if self.lift else None,
        }


def track_record(runs_judged: Sequence[Judged], *, vouched_max: int) -> TrackRecord:
    """The record that these runs of one playbook make."""
    acts = [run for run in runs_judged if run.was_act]
    return TrackRecord(
        decided=agreed(runs_judged, vouched_max=vouched_max),
        acted=agreed(acts, vouched_max=vouched_max),
        harmed=[run.at for run in acts if run.marked_right is False],
    )


@dataclass(frozen=True, kw_only=True)
class RecordScope:
    """A version of a playbook in one place, for a `service`, or for all where that is empty."""

    playbook: Playbook
    place: Place = HOME
    service: str


def read_record(
    connection: Connection, scope: RecordScope, *, now: float, vouched_max: int
) -> TrackRecord:
    """The record of the last 90 days."""
    judged = judged_runs(
        connection,
        since=now - COUNTED_S,
        playbook=scope.playbook.name,
        digest=scope.playbook.digest,
        place=scope.place,
    )
    of_service = [run for run in judged if scope.service in {"", run.service}]
    name = scope.playbook.name
    outcomes = read_outcomes(connection, since=now - COUNTED_S, now=now, playbook=name)
    record = track_record(of_service, vouched_max=vouched_max)
    return replace(record, lift=lift(outcomes.get(name, ())))


def errors_by_service(
    connection: Connection, *, since: float, place: Place = HOME
) -> dict[str, list[float]]:
    """The times of acts that did not help, did not last, or were marked wrong, by service.

    A service is a group, or the target without one; the acts are of alerts that came since then.
    """
    service = func.coalesce(runs.c.group_name, runs.c.target, "")
    where: list[ColumnElement[bool]] = [
        runs.c.received_at >= since,
        runs.c.steps_begun > 0,
        runs.c.request.is_(None),
        or_(
            runs.c.state.in_((State.FAILED, State.ROLLED_BACK)),
            runs.c.relapsed_by.is_not(None),
            runs.c.marked_right.is_(False),
        ),
    ]
    if place != HOME:
        where.append(is_at(runs, place))
    query = select(service.label("service"), runs.c.received_at).where(*where)
    found: dict[str, list[float]] = {}
    for row in connection.execute(query.order_by(runs.c.received_at)):
        found.setdefault(row.service, []).append(row.received_at)
    return found
