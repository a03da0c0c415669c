"""The comparisons on record, and the ended runs that have none yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from actions.reasons import Reason
from actions.tables import insert_into
from receiver.db.tables import comparisons, runs
from receiver.runs import store
from receiver.runs.model import Run, State
from receiver.track_record.comparison import Agreement

# Refusals of an alert on its own merits; the others refuse a copy, or are about the service.
_REFUSED = (
    Reason.NO_PLAYBOOK,
    Reason.VERDICT_REFUTED,
    Reason.VERDICT_UNDECIDED,
    Reason.CAUSE_ELSEWHERE,
    Reason.NO_STEP,
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A run's agreement with people. `over_at` is when the fault ended, None if it goes on.

    `calls` are people's: each with `at`, `operation` and `who`. Times are epoch seconds.
    """

    run_id: str
    agreement: Agreement
    action: str | None
    calls: Sequence[dict[str, Any]]
    over_at: float | None
    at: float


def without(
    connection: Connection, *, since: float, until: float, after: str, limit: int
) -> Sequence[Run]:
    """Ended runs of alerts that did nothing, came in this time, and have no comparison yet.

    They come in order of their ids, from above the id `after`.
    """
    done = select(comparisons.c.run_id).where(comparisons.c.run_id == runs.c.id)
    query = (
        select(runs.c.id)
        .where(
            runs.c.received_at.between(since, until),
            runs.c.request.is_(None),
            runs.c.dry_run.is_(False),
            runs.c.steps_begun == 0,
            runs.c.target.is_not(None),
            (runs.c.state == State.OBSERVED)
            | ((runs.c.state == State.REFUSED) & runs.c.refusal.in_(_REFUSED)),
            ~done.exists(),
            runs.c.id > after,
        )
        .order_by(runs.c.id)
        .limit(limit)
    )
    found = store.by_ids(connection, connection.scalars(query).all())
    return [found[run_id] for run_id in sorted(found)]


def get(connection: Connection, run_id: str) -> Comparison | None:
    """The run's comparison with what people did."""
    query = select(comparisons).where(comparisons.c.run_id == run_id)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        return None
    return Comparison(**(dict(row) | {"agreement": Agreement(row["agreement"])}))


def save(connection: Connection, comparison: Comparison) -> None:
    """Store a comparison; the first one of a run stays."""
    statement = insert_into(connection, comparisons).values(vars(comparison))
    connection.execute(statement.on_conflict_do_nothing())
