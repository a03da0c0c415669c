"""What the records say of a playbook, as far as it justifies that it may go further."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, case, func, select

from receiver.controls.arming import ALL, Armed
from receiver.db.tables import runs
from receiver.playbooks.schema import Playbook
from receiver.runs.model import State
from receiver.settings import Mode

# Of what it does by itself, 95 % are to be right.
_ONE_OF = 20
_LEVEL = {mode: level for level, mode in enumerate(Mode)}


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of the runs that this very playbook `planned` a step for; dry runs do not count.

    They came in at `since` (epoch seconds; None: ever) or later. `recovered` is verified by
    metrics, `failed` includes what was undone, `denied` is a person's no to a plan; `right` and
    `wrong` are people's marks.
    """

    since: float | None
    planned: int
    observed: int
    acted: int
    recovered: int
    failed: int
    denied: int
    right: int
    wrong: int


def figures(
    connection: Connection, playbook: Playbook, service: str, since: float | None
) -> Figures:
    acted = runs.c.steps_begun > 0
    counted = {
        "observed": runs.c.state == State.OBSERVED,
        "acted": acted,
        "recovered": and_(acted, runs.c.state == State.SUCCEEDED),
        "failed": and_(acted, runs.c.state.in_((State.FAILED, State.ROLLED_BACK))),
        "denied": runs.c.approval.contains('"denied":true', autoescape=True),
        "right": runs.c.mark.contains('"right":true', autoescape=True),
        "wrong": runs.c.mark.contains('"right":false', autoescape=True),
    }
    sums = (_count(found).label(name) for name, found in counted.items())
    query = select(func.count().label("planned"), *sums).where(
        runs.c.playbook == playbook.name,
        runs.c.plan.contains(f'"version":"{playbook.digest}"', autoescape=True),
        func.coalesce(runs.c.asked, "").not_like('%"dry_run":true%'),
    )
    if service != ALL:
        query = query.where(runs.c.group_name == service)
    if since is not None:
        query = query.where(runs.c.received_at >= since)
    return Figures(since=since, **connection.execute(query).mappings().one())


def shortfalls(
    present: Armed, mode: Mode, canary_percent: int, found: Figures, evidence: int
) -> Iterator[str]:
    """What speaks against going further than now, to another mode or a larger canary, in words.

    `evidence` is how many observed decisions, or verified recoveries, the next mode needs.
    """
    if (_LEVEL[mode], canary_percent) <= (_LEVEL[present.mode], present.canary_percent):
        return
    if found.wrong:
        yield f"people marked {found.wrong} of its runs as wrong"
    if mode is Mode.AUTO and found.failed * _ONE_OF > found.acted:
        yield f"{found.failed} of {found.acted} runs that acted failed: one of {_ONE_OF} may"
    if mode is Mode.AUTO and found.denied * _ONE_OF > found.acted + found.denied:
        yield f"people denied {found.denied} of its plans: one of {_ONE_OF} may be"
    if mode is present.mode:
        return
    if _LEVEL[mode] > _LEVEL[present.mode] + 1:
        yield f"it is at {present.mode}, and {Mode.APPROVE} comes first"
    if mode is Mode.APPROVE and found.observed < evidence:
        yield f"{found.observed} observed decisions, and {evidence} are needed"
    if mode is Mode.AUTO and found.recovered < evidence:
        yield f"{found.recovered} verified recoveries, and {evidence} are needed"


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)
