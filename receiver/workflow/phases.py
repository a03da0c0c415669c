"""The phases of a run that may act: perform the step, look whether it helped, go on or give up.

After the last of them the run ends, undone where it must be, and people told.

Each is safe to repeat. A phase that is not the one its run waits for does nothing.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

import structlog
from structlog.contextvars import bound_contextvars

from actions.aws.clients import AWS_ERRORS, on_behalf_of
from actions.aws.errors import NOT_AUTHORIZED, TRANSIENT
from actions.aws.inventory import NotActionableError
from actions.base import Impact, Outcome, Progress
from actions.catalog.registry import CATALOG
from actions.execution import ledger
from actions.execution.ledger import Intent
from actions.messaging import MessengerError
from actions.reasons import Reason
from receiver.db.database import Database
from receiver.decision.decide import RETRY_AFTER_S
from receiver.evidence.prometheus import Prometheus
from receiver.evidence.promql_condition import holds
from receiver.runs import store
from receiver.runs.model import Run, State
from receiver.workflow.closing import Closing
from receiver.workflow.durable_queue import Enqueues, Kind, Phase
from receiver.workflow.rollback import Finish
from receiver.workflow.steps import DENIED, Stepper, plan_of, preparing, step_of

_log = structlog.get_logger()
# What was decided longer ago than this, and not begun, is decided anew: the world has moved on.
_DECISION_LASTS_S = 60.0
_ATTEMPTS = 5
_SLACK_S = 5.0
_BACKOFF_S = 2.0
_TRIES = 3


@dataclass(kw_only=True)
class Phases:
    """`wake` has the assessor look at a run that is to be decided on again."""

    database: Database
    stepper: Stepper
    prometheus: Prometheus
    closing: Closing
    finish: Finish
    interval_s: float
    clock: Callable[[], float]
    wake: Callable[[], None]
    engine: Enqueues
    _locks: Sequence[threading.Lock] = field(
        default_factory=lambda: [threading.Lock() for _ in range(256)], init=False
    )

    def handle(self, phase: Phase) -> None:
        """Run one phase; one that breaks is tried again later, and in the end given up."""
        # A copy of a phase waits, and then finds that its run has moved on.
        with self._locks[hash(phase.run_id) % len(self._locks)]:
            with self.database.read() as connection:
                run = store.get(connection, phase.run_id)
            if run is not None and run.phase == phase.id:
                with bound_contextvars(run=run.id):
                    self._run(run, phase)

    def _run(self, run: Run, phase: Phase) -> None:
        try:
            match phase.kind:
                case Kind.ACT:
                    self._act(run, phase)
                case Kind.VERIFY:
                    self._verify(run, phase)
                case Kind.EXPIRE:
                    self._expire(run)
                case Kind.FINISH:
                    self.finish.carry_out(run, phase)
                case _:
                    assert_never(phase.kind)
        except Exception as error:  # noqa: BLE001 whatever broke, the run must end explained
            self._broke(run, phase, error)

    def _broke(self, run: Run, phase: Phase, error: Exception) -> None:
        name = type(error).__name__
        _log.error("phase_broke", run=run.id, phase=phase.kind, error=name, exc_info=error)
        if phase.attempt + 1 < _ATTEMPTS:
            again = replace(phase, attempt=phase.attempt + 1)
            self._go_on(run, run.state, again, delay_s=_BACKOFF_S * 2**phase.attempt)
        else:
            self._give_up(run, phase, f"{phase.kind} broke {_ATTEMPTS} times: {name}")

    def _give_up(self, run: Run, phase: Phase, why: str) -> None:
        """Nothing may have happened at all: then it is a refusal, and may be looked at anew."""
        with self.database.read() as connection:
            steps = ledger.intents_by_run(connection, [run.id]).get(run.id, ())
        if phase.kind is Kind.FINISH:
            self.closing.close(run, State.FAILED, outcome=f"{why}; a person is needed")
        elif steps:
            self.finish.end(run, State.FAILED, outcome=f"{why}; a person is needed")
        else:
            again = self.clock() + RETRY_AFTER_S
            unknown = Reason.STATE_UNKNOWN
            self.closing.close(run, State.REFUSED, refusal=unknown, outcome=why, next_act_at=again)

    def _act(self, run: Run, phase: Phase) -> None:
        step = step_of(run)
        with self.database.read() as connection:
            begun = ledger.read_intent(connection, run.id, step.index)
        old = self.clock() - (run.decided_at or 0) > _DECISION_LASTS_S
        if old and begun is None:
            # The index of a step from which anything is on record is never used again.
            left = self._leave(run)
            self._decide_again(run, run.next_rung - 1, run.steps_begun - (not left))
            return
        performed = self._prepared(run) or self.stepper.perform(run, step)
        if isinstance(performed, Reason):
            self._denied(run, performed)
            return
        if performed.outcome is Outcome.FAILED:
            self._failed(run, performed)
            return
        until = self.clock() + plan_of(run)["verify"]["timeout_s"]
        following = Phase(run_id=run.id, kind=Kind.VERIFY, number=phase.number + 1)
        self._go_on(
            run,
            State.VERIFYING,
            following,
            delay_s=self.interval_s,
            verify_until=until,
            recovered_since=None,
        )

    def _leave(self, run: Run) -> bool:
        """Settle what was begun of the step that is not gone on with; whether there was any."""
        found = []
        for step in (*preparing(run), step_of(run)):
            with self.database.read() as connection:
                begun = ledger.read_intent(connection, run.id, step.index)
            if begun is not None:
                found.append(self.stepper.executor.settle_unfinished(step, begun))
        return bool(found)

    def _prepared(self, run: Run) -> Intent | Reason | None:
        """Do what comes before the step; what stops it, or None where all is prepared."""
        for step in preparing(run):
            performed = self.stepper.perform(run, step)
            if isinstance(performed, Reason):
                return performed
            told = step.action.impact is Impact.HARMLESS
            if not told and performed.outcome not in {Outcome.CHANGED, Outcome.NOOP}:
                return replace(performed, outcome=Outcome.FAILED)
        return None

    def _failed(self, run: Run, step: Intent) -> None:
        """The step surely did not happen: try it again, climb on, or call a person."""
        _log.warning("step_failed", run=run.id, action=step.action, error=step.error)
        if step.error in NOT_AUTHORIZED:
            outcome = f"AWS refused {step.action}: {step.error}; a person is needed"
            self.finish.end(run, State.FAILED, outcome=outcome)
            return
        with self.database.read() as connection:
            steps = ledger.intents_by_run(connection, [run.id])[run.id]
        tries = sum(one.action == step.action and one.error == step.error for one in steps)
        if step.error in TRANSIENT and tries < _TRIES:
            later = self.clock() + _BACKOFF_S * 2**tries
            self._decide_again(run, run.next_rung - 1, run.steps_begun, next_act_at=later)
        else:
            self._decide_again(run, run.next_rung, run.steps_begun)

    def _denied(self, run: Run, denial: Reason) -> None:
        """The claim is the authority: what changed since the decision is refused after all."""
        detail = DENIED[denial]
        gates = [*run.gates, {"name": "claim", "passed": False, "detail": detail}]
        if run.steps_begun > 1:
            outcome = f"the next step was refused: {detail}; a person is needed"
            self.finish.end(run, State.FAILED, outcome=outcome, gates=gates)
            return
        # What was lent for the step is given back, though the step itself was not taken.
        self.finish.end(
            run,
            State.REFUSED,
            refusal=denial,
            outcome=detail,
            gates=gates,
            next_act_at=self.clock() + RETRY_AFTER_S,
        )

    def _expire(self, run: Run) -> None:
        """Nobody answered in time."""
        outcome = "nobody approved it in time"
        if run.steps_begun:
            self.finish.end(run, State.FAILED, outcome=f"{outcome}; a person is needed")
        else:
            again = self.clock() + RETRY_AFTER_S
            self.closing.close(run, State.EXPIRED, outcome=outcome, next_act_at=again)

    def _verify(self, run: Run, phase: Phase) -> None:
        now, verify = self.clock(), plan_of(run)["verify"]
        progress = self._progress(run)
        recovered = progress is Progress.DONE and self._recovered(run, now)
        since = None
        if recovered:
            # What nobody watched, as while this was down, does not count.
            watched = now - run.updated_at <= 3 * self.interval_s + _SLACK_S
            since = run.recovered_since if run.recovered_since and watched else now
            if now - since >= verify["for_s"]:
                self._succeeded(run, now)
                return
        elif now > (run.verify_until or 0) or self._hopeless(run, progress, now):
            self._not_recovered(run)
            return
        following = Phase(run_id=run.id, kind=Kind.VERIFY, number=phase.number + 1)
        self._go_on(run, State.VERIFYING, following, delay_s=self.interval_s, recovered_since=since)

    def _progress(self, run: Run) -> Progress:
        """How far AWS says the effect got; without an answer it is under way."""
        done = self._last(run)
        try:
            with on_behalf_of(run.id):
                return CATALOG[done.action].progress(self.stepper.executor.call(done))
        except (*AWS_ERRORS, NotActionableError, MessengerError) as error:
            _log.warning("progress_unknown", run=run.id, error=type(error).__name__)
            return Progress.UNDERWAY

    def _hopeless(self, run: Run, progress: Progress, now: float) -> bool:
        """Whether waiting longer is no use."""
        worse = plan_of(run)["verify"].get("worse")
        if progress is Progress.FAILED:
            return True
        return bool(worse) and holds(self.prometheus, worse, now) is True

    def _recovered(self, run: Run, now: float) -> bool:
        """Whether metrics show it; no data, and no answer, is no recovery."""
        done = self._last(run)
        expressions = [plan_of(run)["verify"]["expr"]]
        if done.outcome is Outcome.CHANGED and done.dispatched_at is not None:
            proof = CATALOG[done.action].recovery_expr(
                self.stepper.executor.call(done), done.dispatched_at
            )
            expressions += [proof] if proof else []
        return all(holds(self.prometheus, expr, now) is True for expr in expressions)

    def _succeeded(self, run: Run, now: float) -> None:
        with self.database.write() as connection:
            ledger.mark_verified(connection, run.id, run.steps_begun - 1, now)
        outcome = "the target recovered, as its metrics show"
        self.finish.end(run, State.SUCCEEDED, outcome=outcome)

    def _not_recovered(self, run: Run) -> None:
        done = self._last(run)
        if done.outcome is Outcome.UNKNOWN and not CATALOG[done.action].idempotent:
            outcome = (
                f"it is unknown whether {done.action} happened, and {done.target} did not "
                "recover; a person is needed"
            )
            self.finish.end(run, State.FAILED, outcome=outcome)
            return
        self._decide_again(run, run.next_rung, run.steps_begun)

    def _decide_again(
        self, run: Run, rung: int, begun: int, *, next_act_at: float | None = None
    ) -> None:
        with self.database.write() as connection:
            store.move(
                connection,
                run,
                State.DECIDING,
                self.clock(),
                phase=None,
                next_rung=rung,
                steps_begun=begun,
                next_act_at=next_act_at,
            )
        self.wake()

    def _last(self, run: Run) -> Intent:
        with self.database.read() as connection:
            intent = ledger.read_intent(connection, run.id, run.steps_begun - 1)
        if intent is None:
            raise LookupError("the run has no step")
        return intent

    def _go_on(
        self,
        run: Run,
        state: State,
        phase: Phase,
        *,
        delay_s: float,
        **changes: Any,
    ) -> None:
        with self.database.write() as connection:
            if store.move(connection, run, state, self.clock(), phase=phase.id, **changes):
                self.engine.enqueue(connection, phase, delay_s=delay_s)
