"""The write-ahead ledger: what is about to happen is on disk before it happens."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, insert, or_, select, update

from actions.audit import log
from actions.base import CallResult, Outcome
from actions.tables import intents


class Stage(StrEnum):
    """How far a step got. A crash leaves one of these, and each says how to go on."""

    INTENT = "intent"  # nothing was sent
    DISPATCHED = "dispatched"  # it may have been sent
    OBSERVED = "observed"  # it is known what came of the call, or that it cannot be known
    VERIFIED = "verified"  # the target recovered


@dataclass(frozen=True, kw_only=True)
class Intent:
    run_id: str
    step: int
    action: str
    target: str
    params: Mapping[str, Any]
    before: Mapping[str, Any]
    made: Mapping[str, Any] = field(default_factory=dict)
    undoes: int | None = None
    fence: int
    stage: Stage
    outcome: Outcome | None = None
    error: str | None = None
    started_at: float
    dispatched_at: float | None = None
    ended_at: float | None = None


def read(connection: Connection, run_id: str, step: int) -> Intent | None:
    query = select(intents).where(intents.c.run_id == run_id, intents.c.step == step)
    row = connection.execute(query).one_or_none()
    return None if row is None else _intent(row)


def of_runs(connection: Connection, run_ids: Sequence[str]) -> Mapping[str, Sequence[Intent]]:
    """Steps in their order by run id; a run without steps is not there."""
    query = select(intents).where(intents.c.run_id.in_(run_ids)).order_by(intents.c.step)
    found: dict[str, list[Intent]] = {}
    for row in connection.execute(query):
        found.setdefault(row.run_id, []).append(_intent(row))
    return found


def dispatched(connection: Connection, targets: Sequence[str], since: float) -> Sequence[Intent]:
    """What was sent to AWS for these targets since then, and was not refused; latest first."""
    query = select(intents).where(
        intents.c.target.in_(targets),
        intents.c.dispatched_at >= since,
        intents.c.outcome.is_distinct_from(Outcome.FAILED),
    )
    rows = connection.execute(query.order_by(intents.c.dispatched_at.desc()))
    return [_intent(row) for row in rows]


def sent_since(connection: Connection, since: float) -> Sequence[Intent]:
    """Every step that was under way since then, and may have been sent to AWS; oldest first."""
    query = select(intents).where(
        intents.c.dispatched_at.is_not(None),
        or_(intents.c.ended_at.is_(None), intents.c.ended_at >= since),
    )
    return [_intent(row) for row in connection.execute(query.order_by(intents.c.dispatched_at))]


def write(connection: Connection, *stages: Intent) -> None:
    """A new step as it is at the last of these stages, with each of them on record."""
    intent = stages[-1]
    values = vars(intent) | {
        "params": log.canonical(intent.params),
        "before": log.canonical(intent.before),
        "made": log.canonical(intent.made),
    }
    connection.execute(insert(intents).values(values))
    log.append(connection, intent.dispatched_at or intent.started_at, *map(_event, stages))


def dispatch(connection: Connection, intent: Intent, now: float) -> bool:
    """Move from intent to dispatched; False where another got there first."""
    mine = (intents.c.run_id == intent.run_id, intents.c.step == intent.step)
    moved = connection.execute(
        update(intents)
        .where(*mine, intents.c.stage == Stage.INTENT)
        .values(stage=Stage.DISPATCHED, dispatched_at=now)
    )
    if moved.rowcount != 1:
        return False
    _record(connection, read(connection, intent.run_id, intent.step), now)
    return True


def settle(
    connection: Connection, intent: Intent, settled: CallResult, error: str | None, now: float
) -> None:
    """Write down what came of the call."""
    mine = (intents.c.run_id == intent.run_id, intents.c.step == intent.step)
    values = {
        "stage": Stage.OBSERVED,
        "outcome": settled.outcome,
        "made": log.canonical(settled.made),
        "error": error,
        "ended_at": now,
    }
    connection.execute(update(intents).where(*mine).values(values))
    _record(connection, read(connection, intent.run_id, intent.step), now)


def verified(connection: Connection, run_id: str, step: int, now: float) -> None:
    mine = (intents.c.run_id == run_id, intents.c.step == step)
    connection.execute(update(intents).where(*mine).values(stage=Stage.VERIFIED))
    _record(connection, read(connection, run_id, step), now)


def _record(connection: Connection, intent: Intent | None, now: float) -> None:
    if intent is None:
        raise LookupError("the step has no intent")
    log.append(connection, now, _event(intent))


def _event(intent: Intent) -> log.Event:
    detail = {key: value for key, value in vars(intent).items() if value is not None}
    detail.pop("run_id")
    detail.pop("stage")
    return log.Event(
        actor="smartcloudops", event=f"step_{intent.stage}", run_id=intent.run_id, detail=detail
    )


def _intent(row: Row[Any]) -> Intent:
    values = dict(row._mapping)  # noqa: SLF001 SQLAlchemy's public name for it
    return Intent(
        **values
        | {
            "params": json.loads(row.params),
            "before": json.loads(row.before),
            "made": json.loads(row.made),
            "stage": Stage(row.stage),
            "outcome": None if row.outcome is None else Outcome(row.outcome),
        }
    )
