"""The write-ahead ledger: each call to AWS is on disk before it is sent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import Connection, RowMapping, bindparam, insert, or_, select, update

from actions.audit import log
from actions.aws.causes import Cause, Failure
from actions.base import CallResult, Outcome, StepResult
from actions.driver import Statement
from actions.execution import rate_limits
from actions.place import HOME, Place
from actions.step_key import StepKey, StepKind
from actions.tables import intents, is_at_given


class Stage(StrEnum):
    """The progress of a step. The intent is recorded together with the next stage."""

    INTENT = "intent"  # nothing was sent
    DISPATCHED = "dispatched"  # the call may have been sent
    SETTLED = "observed"  # the outcome is recorded, `unknown` where AWS does not show it
    VERIFIED = "verified"  # the target recovered


@dataclass(frozen=True, kw_only=True)
class Intent:
    """One step of a run. `before` is what `observe` saw, `made` what `act` returned.

    Its calls were made from `dispatched_at` to `ended_at`. `cause` is why the call failed. Only a
    step of the ladder has a `result`.
    """

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
    result: StepResult | None = None
    cause: Cause | None = None
    account: str = ""
    region: str = ""

    @property
    def place(self) -> Place:
        return Place(self.account, self.region)

    @property
    def sent_at(self) -> float:
        """When its last call was sent, in epoch seconds."""
        return float(self.made.get(_SENT_AT) or self.dispatched_at or 0.0)

    @property
    def cancelled_at(self) -> float | None:
        """When AWS was first asked to end its effect."""
        return self.made.get("cancelled_at")


_INTENT = TypeAdapter(Intent)
# In `made`: what the step's earlier call made.
EARLIER, _SENT_AT = "earlier", "sent_at"


def is_shown(intent: Intent, within_s: float, now: float) -> bool:
    """Whether AWS, which shows what the call did `within_s`, must show it by now."""
    sent_at = intent.dispatched_at or intent.started_at
    return now - max(sent_at, intent.ended_at or 0.0) >= within_s


# Built once, as each step runs them several times.
_KEY = (
    intents.c.run_id == bindparam("of_run"),
    intents.c.step == bindparam("of_step", type_=intents.c.step.type),
)
_READ = Statement(select(intents).where(*_KEY))
_BY_RUN = Statement(
    select(intents)
    .where(intents.c.run_id.in_(bindparam("run_ids", expanding=True)))
    .order_by(intents.c.step)
)
_ADD = Statement(insert(intents))
_CHANGE = Statement(update(intents).where(*_KEY).returning(*intents.c))


def read_intent(connection: Connection, run_id: str, step: StepKey) -> Intent | None:
    key = {"of_run": run_id, "of_step": step}
    row = _READ.row(connection, key)
    return None if row is None else _intent(row)


def intents_by_run(
    connection: Connection, run_ids: Sequence[str]
) -> Mapping[str, Sequence[Intent]]:
    """Ordered steps by run id, without runs that have none."""
    by_run: dict[str, list[Intent]] = {}
    for row in _BY_RUN.rows(connection, {"run_ids": [*run_ids]}):
        by_run.setdefault(row["run_id"], []).append(_intent(row))
    return by_run


_DISPATCHED_TO = Statement(
    select(intents)
    .where(
        is_at_given(intents),
        intents.c.target.in_(bindparam("targets", expanding=True)),
        intents.c.dispatched_at >= bindparam("since"),
        intents.c.outcome.is_distinct_from(Outcome.FAILED),
    )
    .order_by(intents.c.dispatched_at.desc())
)


def dispatched_to(
    connection: Connection, place: Place, targets: Sequence[str], since: float
) -> Sequence[Intent]:
    """Acts on these targets that were sent to AWS since `since` and did not fail; latest first."""
    values = {**vars(place), "targets": [*targets], "since": since}
    steps = map(_intent, _DISPATCHED_TO.rows(connection, values))
    return [step for step in steps if step.step.kind is not StepKind.CAPTURE]


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
    _ADD.count(connection, vars(intent))
    log.append(connection, intent.dispatched_at or intent.started_at, *map(_event, stages))
    _forget_attempt(connection, intent)


def settle(
    connection: Connection, intent: Intent, result: CallResult, failure: Failure | None, now: float
) -> Intent:
    """Record the outcome of the call. Returns the intent as stored.

    If a step's next call did not happen, the one before it stands.
    """
    if EARLIER in intent.made and result.outcome is Outcome.FAILED:
        result, failure = CallResult(Outcome.CHANGED, intent.made[EARLIER]), None
    elif EARLIER in intent.made and result.outcome is Outcome.UNKNOWN:
        result = CallResult(Outcome.UNKNOWN, intent.made)
    values = {
        "stage": Stage.SETTLED,
        "outcome": result.outcome,
        "made": result.made,
        "error": failure.name if failure else None,
        "cause": failure.cause if failure else None,
        "ended_at": now,
        "result": first_result(intent.step, result.outcome),
    }
    return _update(connection, intent, values, f"step_{Stage.SETTLED}", now)


def record_next(
    connection: Connection, intent: Intent, made: Mapping[str, Any], now: float
) -> Intent:
    """Record that the step's next call is sent. Returns the intent as stored.

    `made` has what the call before made, which stands if this one does not happen.
    """
    values = {
        "stage": Stage.DISPATCHED,
        "outcome": None,
        "made": {**made, EARLIER: dict(intent.made), _SENT_AT: now},
        "ended_at": None,
    }
    return _update(connection, intent, values, f"step_{Stage.DISPATCHED}", now)


def record_cancel(connection: Connection, intent: Intent, now: float) -> Intent:
    """Record that AWS is asked, perhaps again, to end the step's effect. Returns the intent."""
    values = {"made": {"cancelled_at": now, **intent.made}, "ended_at": now}
    return _update(connection, intent, values, "step_cancelled", now)


def first_result(step: StepKey, outcome: Outcome) -> StepResult | None:
    """The result of a step whose call was just settled; None for a step outside the ladder."""
    if step.kind is not StepKind.LADDER:
        return None
    match outcome:
        case Outcome.CHANGED | Outcome.NOOP:
            return StepResult.UNDER_WAY
        case Outcome.FAILED:
            return StepResult.NEVER_RAN
        case Outcome.UNKNOWN:
            return StepResult.UNKNOWN


def record_result(connection: Connection, intent: Intent, result: StepResult, now: float) -> None:
    """Record what became of the step; one that helped is verified."""
    current = read_intent(connection, intent.run_id, intent.step)
    if current is None or current.stage is Stage.VERIFIED:
        return
    if result is StepResult.HELPED:
        values = {"stage": Stage.VERIFIED, "result": result}
        _update(connection, intent, values, f"step_{Stage.VERIFIED}", now)
    elif result is not current.result:
        _update(connection, intent, {"result": result}, "step_result", now)


def _update(
    connection: Connection, before: Intent, values: Mapping[str, Any], event: str, now: float
) -> Intent:
    run_id, step = before.run_id, before.step
    changed = {"of_run": run_id, "of_step": step, **values}
    row = _CHANGE.row(connection, changed)
    if row is None:
        raise LookupError(f"the ledger has no intent for step {step.number} of run {run_id}")
    intent = _intent(row)
    log.append(connection, now, replace(_event(intent), event=event))
    _forget_attempt(connection, intent)
    return intent


def _forget_attempt(connection: Connection, intent: Intent) -> None:
    """A step that never ran uses up no rate limit."""
    if intent.outcome is Outcome.FAILED or intent.result is StepResult.NEVER_RAN:
        rate_limits.forget(connection, intent.run_id, intent.step)


def _event(intent: Intent) -> log.Event:
    # Without a file of accounts there is one place, which needs no name.
    unnamed = {"account", "region"} if intent.place == HOME else set()
    detail = {
        key: value
        for key, value in vars(intent).items()
        if value is not None and key not in unnamed
    }
    detail.pop("run_id")
    detail.pop("stage")
    return log.Event(
        actor="smartcloudops", event=f"step_{intent.stage}", run_id=intent.run_id, detail=detail
    )


def _intent(row: Mapping[str, Any] | RowMapping) -> Intent:
    return _INTENT.validate_python(dict(row))
