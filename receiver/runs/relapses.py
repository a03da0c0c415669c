"""Recoveries that did not last: the same alert on the same target, soon after the run's end.

Endless successful remediation hides a real fault (https://github.com/StackStorm/st2/issues/3607).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from actions.audit import log
from actions.driver import Statement
from actions.place import Place
from actions.tables import is_at, is_at_given
from receiver.db.tables import runs
from receiver.runs.model import Run, State
from receiver.runs.transitions import ACTOR

# A recovery counts as provisional for a day at most; relapses are counted over a week.
LASTS_MAX_S, _COUNTED_S = 86_400.0, 7 * 86_400.0
# From this number of relapses on, a person is told.
_TOLD_FROM = 2


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """A recovery of a target at `at` (epoch seconds), by a step below `next_rung`."""

    run_id: str
    alertname: str
    playbook: str
    playbook_digest: str
    next_rung: int
    at: float


# Built once, as each decision asks.
_RECOVERIES = Statement(
    select(
        runs.c.id,
        runs.c.target,
        runs.c.labels,
        runs.c.playbook,
        runs.c.playbook_digest,
        runs.c.next_rung,
        runs.c.ended_at,
    )
    .where(
        is_at_given(runs),
        runs.c.target.in_(bindparam("targets", expanding=True)),
        runs.c.state == State.SUCCEEDED,
        runs.c.steps_begun > 0,
        runs.c.ended_at > bindparam("since"),
    )
    .order_by(runs.c.ended_at.desc())
)


def last_recoveries(
    connection: Connection, place: Place, targets: Collection[str], now: float
) -> Mapping[str, Sequence[Recovery]]:
    """The recoveries of a day by target, the latest first."""
    values = {**vars(place), "targets": [*targets], "since": now - LASTS_MAX_S}
    found: dict[str, list[Recovery]] = {}
    for row in _RECOVERIES.rows(connection, values):
        found.setdefault(row["target"], []).append(_recovery(row))
    return found


def did_not_last(
    recovered: Sequence[Recovery], run: Run, playbook: str, digest: str, since: float
) -> Recovery | None:
    """The last recovery since then by this playbook, if the run's alert is the same again."""
    if run.request is not None:
        return None
    alertname = run.labels.get("alertname", "")
    key = (alertname, playbook, digest)
    same = (
        recovery
        for recovery in recovered
        if (recovery.alertname, recovery.playbook, recovery.playbook_digest) == key
        and since <= recovery.at <= run.received_at
    )
    return next(same, None)


def record(connection: Connection, run: Run, earlier_id: str, now: float) -> None:
    """Record once that the run's alert shows that the earlier run's recovery did not last.

    From the second relapse of a week on, the audit record tells people.
    """
    first = runs.c.relapsed_by.is_(None)
    lapsed = update(runs).where(runs.c.id == earlier_id, first).values(relapsed_by=run.id)
    if connection.execute(lapsed).rowcount == 0:
        return
    before = connection.execute(
        select(runs.c.target, runs.c.playbook, runs.c.account, runs.c.region).where(
            runs.c.id == earlier_id
        )
    ).one()
    later = runs.alias()
    helped = connection.execute(
        select(runs.c.ended_at, runs.c.plan, later.c.received_at)
        .join(later, later.c.id == runs.c.relapsed_by)
        .where(
            runs.c.target == before.target,
            is_at(runs, Place(before.account or "", before.region or "")),
            runs.c.playbook == before.playbook,
            runs.c.ended_at > now - _COUNTED_S,
        )
        .order_by(runs.c.ended_at)
    ).all()
    detail = {
        "target": before.target,
        "actions": list(dict.fromkeys(row.plan["action"] for row in helped)),
        "relapsed_by": run.id,
        "times": len(helped),
        "since": helped[0].ended_at,
        "helped_s": round(median(max(0.0, row.received_at - row.ended_at) for row in helped)),
        "tell": len(helped) >= _TOLD_FROM,
    }
    event = log.Event(actor=ACTOR, event="recovery_did_not_last", run_id=earlier_id, detail=detail)
    log.append(connection, now, event)


def _recovery(row: Mapping[str, Any]) -> Recovery:
    return Recovery(
        run_id=row["id"],
        alertname=row["labels"].get("alertname", ""),
        playbook=row["playbook"] or "",
        playbook_digest=row["playbook_digest"] or "",
        next_rung=row["next_rung"],
        at=row["ended_at"],
    )
