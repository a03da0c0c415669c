"""Reads the runs that speak for or against playbooks."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, RowMapping, func, or_, select

from actions.place import HOME, Place
from actions.tables import is_at
from receiver.db.tables import comparisons, runs
from receiver.runs.model import State
from receiver.track_record.comparison import Agreement
from receiver.track_record.incidents import Judged

# Older runs tell of another playbook, fleet and season.
COUNTED_S = 90 * 86_400.0


def judged_runs(
    connection: Connection,
    *,
    since: float,
    playbook: str | None = None,
    digest: str | None = None,
    place: Place = HOME,
) -> Sequence[Judged]:
    """Runs of alerts with a playbook, received at `since` (epoch seconds) or later, oldest first.

    Runs by hand and dry runs are left out: whoever starts one chooses the outcome. With a `digest`
    only the runs in which this version of the playbook planned a step.
    """
    query = (
        select(
            runs.c.id,
            runs.c.playbook,
            func.coalesce(runs.c.group_name, runs.c.target, "").label("service"),
            func.coalesce(runs.c.target, "").label("target"),
            runs.c.received_at,
            runs.c.state,
            runs.c.steps_begun,
            runs.c.approved,
            runs.c.mark,
            runs.c.relapsed_by,
            comparisons.c.agreement,
        )
        .join(comparisons, comparisons.c.run_id == runs.c.id, isouter=True)
        .where(
            runs.c.received_at >= since,
            runs.c.request.is_(None),
            runs.c.dry_run.is_(False),
            or_(
                runs.c.steps_begun > 0,
                runs.c.approved.is_not(None),
                runs.c.mark.is_not(None),
                comparisons.c.agreement.is_not(None),
            ),
        )
        .order_by(runs.c.received_at)
    )
    if playbook is None:
        query = query.where(runs.c.playbook.is_not(None))
    else:
        query = query.where(runs.c.playbook == playbook)
    if digest is not None:
        query = query.where(runs.c.playbook_digest == digest)
    if place != HOME:
        query = query.where(is_at(runs, place))
    return [_judged(row) for row in connection.execute(query).mappings()]


def _judged(row: RowMapping) -> Judged:
    mark: Mapping[str, object] = row["mark"] or {}
    return Judged(
        run_id=row["id"],
        playbook=row["playbook"],
        service=row["service"],
        target=row["target"],
        at=row["received_at"],
        state=State(row["state"]),
        acted=row["steps_begun"] > 0,
        relapsed=row["relapsed_by"] is not None,
        approved=row["approved"],
        marked_right=bool(mark["right"]) if mark else None,
        marked_by=str(mark.get("by", "")),
        agreement=Agreement(row["agreement"]) if row["agreement"] else None,
    )
