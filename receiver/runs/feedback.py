"""People's feedback on runs (marks, approvals and denials), as labels for training."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import Connection, update

from actions.audit import log
from receiver.db.tables import runs as table
from receiver.runs import store
from receiver.runs.model import Acknowledgement, Approval, FeedbackMark, Run
from receiver.runs.queries import search, search_text


class FeedbackSource(StrEnum):
    """The source of feedback; a mark is given after the run's end, when its outcome is known."""

    MARK = "mark"
    APPROVAL = "approval"
    DENIAL = "denial"


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """Feedback on one run; `right` says whether the person agreed with the run's steps or plan.

    `verdict` is the model's answer at that time, None if no guard needed one. `at` and `starts_at`
    are epoch seconds.
    """

    run_id: str
    right: bool
    source: FeedbackSource
    by: str
    at: float
    comment: str
    verdict: str | None
    labels: Mapping[str, str]
    starts_at: float
    target: str | None
    group: str | None
    playbook: str | None
    state: str


def set_feedback(connection: Connection, run: Run, mark: FeedbackMark) -> None:
    """Store feedback on the run, with its audit record."""
    statement = update(table).where(table.c.id == run.id)
    connection.execute(statement.values(store.to_row({"mark": mark})))
    search_text.add_changes(connection, {run.id: {"person": mark.by}})
    detail = {"right": mark.right, "comment": mark.comment}
    event = log.Event(actor=mark.by, event="run_marked_by_a_person", run_id=run.id, detail=detail)
    log.append(connection, mark.at, event)


def acknowledge(connection: Connection, run: Run, given: Acknowledgement) -> None:
    """Store that a person is on it, with its audit record."""
    statement = update(table).where(table.c.id == run.id)
    connection.execute(statement.values(store.to_row({"acknowledged": given})))
    search_text.add_changes(connection, {run.id: {"person": given.by}})
    detail = {"comment": given.comment}
    event = log.Event(actor=given.by, event="run_acknowledged", run_id=run.id, detail=detail)
    log.append(connection, given.at, event)


def list_feedback(
    connection: Connection, *, since: float | None = None, before: str | None = None, limit: int
) -> Sequence[Feedback]:
    """Feedback, one for each run, the newest run first, below run id `before`.

    A mark takes precedence over an approval or a denial.
    """
    runs = search.with_human_verdict(connection, since=since, before=before, limit=limit)
    return [feedback for run in runs for feedback in _feedback_on(run)]


def _feedback_on(run: Run) -> Iterator[Feedback]:
    approval = run.approval
    if run.mark is not None:
        yield _feedback(run, run.mark, FeedbackSource.MARK, right=run.mark.right)
    elif approval is not None:
        source = FeedbackSource.DENIAL if approval.denied else FeedbackSource.APPROVAL
        yield _feedback(run, approval, source, right=not approval.denied)


def _feedback(
    run: Run, given: FeedbackMark | Approval, source: FeedbackSource, *, right: bool
) -> Feedback:
    return Feedback(
        run_id=run.id,
        right=right,
        source=source,
        by=given.by,
        at=given.at,
        comment=given.comment,
        verdict=run.verdict.answer if run.verdict else None,
        labels=run.labels,
        starts_at=run.starts_at,
        target=run.target,
        group=run.group_name,
        playbook=run.playbook,
        state=str(run.state),
    )
