"""The write-ahead ledger: each call to AWS is on disk before it is sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, RowMapping, insert, or_, select, update

from actions.audit import log
from actions.base import CallResult, Outcome
from actions.step_key import StepKey
from actions.tables import intents


class Stage(StrEnum):
    """The progress of a step. The intent is recorded together with the next stage."""

    INTENT = "intent"  # nothing was sent
    DISPATCHED = "dispatched"  # the call may have been sent
    SETTLED = "observed"  # the outcome is recorded, `unknown` where AWS does not show it
    VERIFIED = "verified"  # the target recovered


@dataclass(frozen=True, kw_only=True)
class Intent:
    """One step of a run. `before` is what `observe` saw, `made` what `act` returned."""

    run_id: str
    step: StepKey
    action: str
    target: str
    params: Mapping[str, Any]
    before: Mapping[str, Any]
    made: Mapping[str, Any] = field(default_factory=dict)
    undoes: StepKey | None = None
    fence: int
    stage: Stage
    outcome: Outcome | None = None
    error: str | None = None
    started_at: float
    dispatched_at: float | None = None
    ended_at: float | None = None


_INTENT = TypeAdapter(Intent)


def read_intent(connection: Connection, run_id: str, step: StepKey) -> Intent | None:
    query = select(intents).where(intents.c.run_id == run_id, intents.c.step == step)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _intent(row)


def intents_by_run(
    connection: Connection, run_ids: Sequence[str]
) -> Mapping[str, Sequence[Intent]]:
    """Ordered steps by run id, without runs that have none."""
    query = select(intents).where(intents.c.run_id.in_(run_ids)).order_by(intents.c.step)
    by_run: dict[str, list[Intent]] = {}
    for row in connection.execute(query).mappings():
        by_run.setdefault(row["run_id"], []).append(_intent(row))
    return by_run


def dispatched_to(connection: Connection, targets: Sequence[str], since: float) -> Sequence[Intent]:
    """Steps on these targets that were sent to AWS since `since` and did not fail; latest first."""
    query = select(intents).where(
        intents.c.target.in_(targets),
        intents.c.dispatched_at >= since,
        intents.c.outcome.is_distinct_from(Outcome.FAILED),
    )
    rows = connection.execute(query.order_by(intents.c.dispatched_at.desc())).mappings()
    return [_intent(row) for row in rows]


def sent_since(connection: Connection, since: float) -> Sequence[Intent]:
    """Every step that may have been sent to AWS and had not ended by `since`; oldest first."""
    query = select(intents).where(
        intents.c.dispatched_at.is_not(None),
        or_(intents.c.ended_at.is_(None), intents.c.ended_at >= since),
    )
    rows = connection.execute(query.order_by(intents.c.dispatched_at)).mappings()
    return [_intent(row) for row in rows]


def record(connection: Connection, *stages: Intent) -> None:
    """Store a new step in the last of these stages, with an audit record for each stage."""
    intent = stages[-1]
    connection.execute(insert(intents).values(vars(intent)))
    log.append(connection, intent.dispatched_at or intent.started_at, *map(_event, stages))


def settle(
    connection: Connection, intent: Intent, result: CallResult, error: str | None, now: float
) -> Intent:
    """Record the outcome of the call. Returns the intent as stored."""
    values = {
        "stage": Stage.SETTLED,
        "outcome": result.outcome,
        "made": result.made,
        "error": error,
        "ended_at": now,
    }
    return _update(connection, intent.run_id, intent.step, values, now)


def mark_verified(connection: Connection, run_id: str, step: StepKey, now: float) -> None:
    _update(connection, run_id, step, {"stage": Stage.VERIFIED}, now)


def _update(
    connection: Connection, run_id: str, step: StepKey, values: Mapping[str, Any], now: float
) -> Intent:
    key = (intents.c.run_id == run_id, intents.c.step == step)
    connection.execute(update(intents).where(*key).values(values))
    intent = read_intent(connection, run_id, step)
    if intent is None:
        raise LookupError(f"the ledger has no intent for step {step.number} of run {run_id}")
    log.append(connection, now, _event(intent))
    return intent


def _event(intent: Intent) -> log.Event:
    detail = {key: value for key, value in vars(intent).items() if value is not None}
    detail.pop("run_id")
    detail.pop("stage")
    return log.Event(
        actor="smartcloudops", event=f"step_{intent.stage}", run_id=intent.run_id, detail=detail
    )


def _intent(row: RowMapping) -> Intent:
    return _INTENT.validate_python(dict(row))
