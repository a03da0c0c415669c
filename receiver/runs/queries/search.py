"""Searches for runs: by state, playbook, target and time, and those that people judged."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, exists, false, func, or_, select, true

from actions.tables import intents
from receiver.db.tables import has_feedback, run_search, runs
from receiver.http.access.callers import Scope
from receiver.runs.model import Run, State
from receiver.runs.queries import search_text
from receiver.runs.store import from_row


@dataclass(frozen=True, kw_only=True)
class RunFilter:
    """A filter of runs; None means any.

    `target` is the alert's target or a step's, `text` has words that all are part of what
    `search_text` knows of the run. `since` and `until` are epoch seconds; `among` are ids.
    """

    state: State | None = None
    playbook: str | None = None
    target: str | None = None
    account: str | None = None
    region: str | None = None
    since: float | None = None
    until: float | None = None
    text: str | None = None
    refusal: str | None = None
    group: str | None = None
    alertname: str | None = None
    severity: str | None = None
    among: Collection[str] | None = None
    # Runs within one of these; what a run has not is not within.
    scopes: Sequence[Scope] | None = None

    @property
    def of_decided(self) -> bool:
        """Whether it asks for what only a run that was decided has."""
        asked = (self.playbook, self.account, self.region, self.refusal, self.among)
        return any(value is not None for value in asked)


_ANY = RunFilter()


def list_runs(
    connection: Connection,
    wanted: RunFilter = _ANY,
    *,
    before: str | None = None,
    limit: int = 100,
) -> Sequence[Run]:
    """The matching runs without evidence, newest first, below run id `before`."""
    columns = [column for column in runs.c if column.name != "evidence"]
    # An index has all that is asked, so that only the rows of the page itself are read.
    found = select(runs.c.id).where(*_conditions(wanted)).order_by(runs.c.id.desc()).limit(limit)
    if before is not None:
        found = found.where(runs.c.id < before)
    run_ids = connection.scalars(found).all()
    query = select(*columns).where(runs.c.id.in_(run_ids)).order_by(runs.c.id.desc())
    rows = connection.execute(query).mappings()
    return [from_row(dict(row) | {"evidence": None}) for row in rows]


def _conditions(wanted: RunFilter) -> Iterator[ColumnElement[bool]]:
    equal = (
        (runs.c.state, wanted.state),
        (runs.c.playbook, wanted.playbook),
        (runs.c.account, wanted.account),
        (runs.c.region, wanted.region),
        (runs.c.refusal, wanted.refusal),
        (runs.c.group_name, wanted.group),
    )
    yield from (column == value for column, value in equal if value is not None)
    if wanted.target is not None:
        target = wanted.target
        of_step = exists().where(intents.c.run_id == runs.c.id, intents.c.target == target)
        yield or_(runs.c.target == target, of_step)
    alert = ((run_search.c.alertname, wanted.alertname), (run_search.c.severity, wanted.severity))
    named = [column == value for column, value in alert if value is not None]
    if named:
        yield exists().where(run_search.c.run_id == runs.c.id, *named)
    if wanted.text is not None:
        yield search_text.matches(wanted.text)
    if wanted.since is not None:
        yield runs.c.received_at >= wanted.since
    if wanted.until is not None:
        yield runs.c.received_at < wanted.until
    if wanted.among is not None:
        yield runs.c.id.in_(wanted.among)
    if wanted.scopes is not None:
        yield or_(false(), *(and_(true(), *_within(scope)) for scope in wanted.scopes))


def _within(scope: Scope) -> Iterator[ColumnElement[bool]]:
    limits = (
        (runs.c.group_name, scope.services),
        (runs.c.playbook, scope.playbooks),
        (runs.c.account, scope.accounts),
    )
    for column, names in limits:
        if names is not None:
            # Not LIKE, which knows no case on SQLite.
            yield or_(
                column.in_([name for name in names if not name.endswith("*")]),
                *(
                    func.substr(column, 1, len(name) - 1) == name[:-1]
                    for name in names
                    if name.endswith("*")
                ),
            )


def newest_about(connection: Connection, name: str, *, since: float) -> str | None:
    """The newest run, since a time, whose target or group has this name."""
    about = or_(runs.c.target == name, runs.c.group_name == name)
    query = select(runs.c.id).where(about, runs.c.received_at >= since)
    return connection.execute(query.order_by(runs.c.id.desc()).limit(1)).scalar()


def with_human_verdict(
    connection: Connection, *, since: float | None = None, before: str | None = None, limit: int
) -> Sequence[Run]:
    """Runs with feedback, an approval or a denial, newest first, below run id `before`."""
    query = select(runs).where(has_feedback).order_by(runs.c.id.desc()).limit(limit)
    if since is not None:
        query = query.where(runs.c.received_at >= since)
    if before is not None:
        query = query.where(runs.c.id < before)
    return [from_row(row) for row in connection.execute(query).mappings()]
