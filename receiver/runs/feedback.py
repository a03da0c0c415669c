"""What people said of runs, as labels to learn from: marks, approvals and denials."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection

from receiver.runs import store
from receiver.runs.model import Run


class Source(StrEnum):
    """How a person said it; a mark was made afterwards, knowing how it ended."""

    MARK = "mark"
    APPROVAL = "approval"
    DENIAL = "denial"


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """`right`: whether the person agreed with what the run did, or was about to do.

    `verdict` is the model's answer at that time, None where a guard needed none. `at` and
    `starts_at` are epoch seconds.
    """

    run_id: str
    right: bool
    source: Source
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


def judged(
    connection: Connection, *, since: float | None = None, before: str | None = None, limit: int
) -> Sequence[Judgement]:
    """One a run that people said something of, the newest run first, below run id `before`.

    A mark counts more than an approval or a denial.
    """
    found = store.spoken_of(connection, since=since, before=before, limit=limit)
    return [judgement for run in found for judgement in _judgements(run)]


def _judgements(run: Run) -> Iterator[Judgement]:
    approval = run.approval or (run.plan or {}).get("approval")
    if run.mark is not None:
        yield _judgement(run, run.mark, Source.MARK, right=run.mark["right"])
    elif approval is not None:
        denied = approval.get("denied", False)
        source = Source.DENIAL if denied else Source.APPROVAL
        yield _judgement(run, approval, source, right=not denied)


def _judgement(run: Run, said: Mapping[str, Any], source: Source, *, right: bool) -> Judgement:
    return Judgement(
        run_id=run.id,
        right=right,
        source=source,
        by=said["by"],
        at=said["at"],
        comment=said["comment"],
        verdict=run.verdict["answer"] if run.verdict else None,
        labels=run.labels,
        starts_at=run.starts_at,
        target=run.target,
        group=run.group_name,
        playbook=run.playbook,
        state=str(run.state),
    )
