"""The criteria for arming a playbook to a higher mode, and the figures that they use."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_, case, func, or_, select

from actions.place import HOME, Place
from actions.tables import is_at
from receiver.controls.records import ALL, ArmedMode
from receiver.db.tables import runs
from receiver.playbooks.schema import Playbook
from receiver.runs.model import State
from receiver.settings import Mode

# At most one of 20 runs that acted may have failed: 95 % must be right.
_ONE_OF = 20
_LEVEL = {mode: level for level, mode in enumerate(Mode)}


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Counts of the runs for which this version of the playbook `planned` a step; no dry runs.

    The runs were received at `since` (epoch seconds; None means all) or later. `recovered` counts
    recoveries that metrics verified and that lasted, `failed` includes those that did not last and
    runs that were rolled back, `denied` counts
    plans that a person denied; `right` and `wrong` count people's feedback.
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
    connection: Connection, playbook: Playbook, place: Place, service: str, since: float | None
) -> Figures:
    acted, lasted = runs.c.steps_begun > 0, runs.c.relapsed_by.is_(None)
    counted = {
        "observed": runs.c.state == State.OBSERVED,
        "acted": acted,
        "recovered": and_(acted, runs.c.state == State.SUCCEEDED, lasted),
        "failed": and_(acted, or_(runs.c.state.in_((State.FAILED, State.ROLLED_BACK)), ~lasted)),
        "denied": runs.c.approved.is_(False),
        "right": runs.c.marked_right.is_(True),
        "wrong": runs.c.marked_right.is_(False),
    }
    sums = (_count(condition).label(name) for name, condition in counted.items())
    query = select(func.count().label("planned"), *sums).where(
        runs.c.playbook == playbook.name,
        runs.c.playbook_digest == playbook.digest,
        runs.c.dry_run.is_(False),
    )
    if place != HOME:
        # Without a file of accounts there is one place, also of runs that were not decided.
        query = query.where(is_at(runs, place))
    if service != ALL:
        query = query.where(runs.c.group_name == service)
    if since is not None:
        query = query.where(runs.c.received_at >= since)
    return Figures(since=since, **connection.execute(query).mappings().one())


def goes_further(present: ArmedMode, mode: Mode, canary_percent: int) -> bool:
    """Whether this mode, or this canary, allows more than the present one."""
    return (_LEVEL[mode], canary_percent) > (_LEVEL[present.mode], present.canary_percent)


def shortfalls(
    present: ArmedMode, mode: Mode, canary_percent: int, record: Figures
) -> Iterator[str]:
    """The unmet criteria for a change from `present` to this mode or canary, as sentences.

    The bounds of the playbook's record come on top (`receiver.controls.bounds`).
    """
    if not goes_further(present, mode, canary_percent):
        return
    if record.wrong:
        yield f"people marked {record.wrong} of the playbook's runs as wrong"
    if mode is Mode.AUTO and record.failed * _ONE_OF > record.acted:
        yield f"{record.failed} of {record.acted} runs that acted failed (allowed: 1 in {_ONE_OF})"
    if mode is Mode.AUTO and record.denied * _ONE_OF > record.acted + record.denied:
        yield f"people denied {record.denied} of the playbook's plans (allowed: 1 in {_ONE_OF})"
    if _LEVEL[mode] > _LEVEL[present.mode] + 1:
        yield f"the playbook is at {present.mode}: arm it to {Mode.APPROVE} first"


def _count(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)
