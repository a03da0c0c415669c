"""Runs the phases of a run that acts: perform the step, verify recovery, expire, finish.

Each is safe to repeat. A phase that is not the current one of its run does nothing.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

import structlog
from structlog.contextvars import bound_contextvars

from actions.aws.errors import NOT_AUTHORIZED, TRANSIENT
from actions.base import Outcome, Progress
from actions.catalog.registry import find_action
from actions.execution import ledger
from actions.execution.ledger import Intent
from actions.reasons import Reason
from actions.refusal import Refusal
from receiver.db.database import Database
from receiver.decision.decide import RETRY_AFTER_S
from receiver.runs import store, transitions
from receiver.runs.model import GuardResult, Run, State
from receiver.workflow.close_run import RunFinisher
from receiver.workflow.durable_queue import Phase, PhaseKind, PhaseQueue
from receiver.workflow.steps import StepRunner, plan_of, step_of
from receiver.workflow.verification import Verification

_logger = structlog.get_logger()
# An older decision whose step did not begin is made again on fresh state.
_DECISION_LASTS_S = 60.0
# Attempts of a phase that raises, and the back-off between them.
_ATTEMPTS, _BACKOFF_S = 5, 2.0
# Attempts of a step that fails with a transient error, such as throttling.
_STEP_TRIES = 3
# If a verification is later than three intervals plus this, the wait for recovery starts again.
_SLACK_S = 5.0


@dataclass(kw_only=True)
class Phases:
    """Runs phases; `wake` makes the dispatcher decide a run again."""

    database: Database
    step_runner: StepRunner
    verification: Verification
    finisher: RunFinisher
    interval_s: float
    clock: Callable[[], float]
    wake: Callable[[], None]
    queue: PhaseQueue
    _locks: Sequence[threading.Lock] = field(
        default_factory=lambda: [threading.Lock() for _ in range(256)], init=False
    )

    def handle(self, phase: Phase) -> None:
        """Run one phase; if it raises, it is run again later, and the last failure ends the run."""
        # A second copy of a phase waits here, then finds that its run has changed, and does
        # nothing.
        with self._locks[hash(phase.run_id) % len(self._locks)]:
            with self.database.read() as connection:
                run = store.get(connection, phase.run_id)
            if run is not None and run.phase == phase.id:
                with bound_contextvars(run=run.id):
                    self._run(run, phase)

    def _run(self, run: Run, phase: Phase) -> None:
        try:
            match phase.kind:
                case PhaseKind.ACT:
                    self._act(run, phase)
                case PhaseKind.VERIFY:
                    self._verify(run, phase)
                case PhaseKind.EXPIRE:
                    self._expire(run)
                case PhaseKind.FINISH:
                    self.finisher.run(run, phase)
                case _:
                    assert_never(phase.kind)
        except Exception as error:
            # After any error the run must end with an explanation.
            _logger.exception("phase_failed", run=run.id, phase=phase.kind)
            self._retry(run, phase, type(error).__name__)

    def _retry(self, run: Run, phase: Phase, error: str) -> None:
        if phase.attempt + 1 < _ATTEMPTS:
            again = replace(phase, attempt=phase.attempt + 1)
            self._schedule(run, run.state, again, delay_s=_BACKOFF_S * 2**phase.attempt)
        else:
            self._fail(run, phase, f"{phase.kind} failed {_ATTEMPTS} times: {error}")

    def _fail(self, run: Run, phase: Phase, reason: str) -> None:
        """End the run: refused and open to a retry if it has no recorded step, else failed."""
        steps = self._recorded_steps(run)
        closer, outcome = self.finisher.closer, f"{reason}; a person is needed"
        if phase.kind is PhaseKind.FINISH:
            self.finisher.skip_rollback(run, phase, reason)
        elif steps:
            self.finisher.finish(run, State.FAILED, outcome=outcome)
        else:
            again, refusal = self.clock() + RETRY_AFTER_S, Reason.STATE_UNKNOWN
            closer.close(run, State.REFUSED, refusal=refusal, outcome=reason, next_act_at=again)

    def _act(self, run: Run, phase: Phase) -> None:
        step = step_of(run)
        recorded = self._recorded_steps(run)
        old = self.clock() - (run.decided_at or 0) > _DECISION_LASTS_S
        if old and step.index not in recorded:
            # The ledger number of a recorded step is never used again.
            on_record = self.step_runner.settle_unfinished(run, recorded)
            self._redecide(run, run.next_rung - 1, run.steps_begun - (not on_record))
            return
        result = self.step_runner.run_before_steps(run) or self.step_runner.run_step(run, step)
        if isinstance(result, Refusal):
            self._denied(run, result)
            return
        if result.outcome is Outcome.FAILED:
            self._step_failed(run, result)
            return
        until = self.clock() + plan_of(run).verify.timeout_s
        self._schedule(
            run,
            State.VERIFYING,
            Phase(run_id=run.id, kind=PhaseKind.VERIFY, number=phase.number + 1),
            delay_s=self.interval_s,
            verify_until=until,
            recovered_since=None,
        )

    def _step_failed(self, run: Run, intent: Intent) -> None:
        """Handle a step that did not happen: try it again, take the next rung, or call a person."""
        _logger.warning("step_failed", run=run.id, action=intent.action, error=intent.error)
        if intent.error in NOT_AUTHORIZED:
            outcome = f"AWS refused {intent.action}: {intent.error}; a person is needed"
            self.finisher.finish(run, State.FAILED, outcome=outcome)
            return
        steps = self._recorded_steps(run).values()
        tries = sum(step.action == intent.action and step.error == intent.error for step in steps)
        if intent.error in TRANSIENT and tries < _STEP_TRIES:
            later = self.clock() + _BACKOFF_S * 2**tries
            self._redecide(run, run.next_rung - 1, run.steps_begun, next_act_at=later)
        else:
            self._redecide(run, run.next_rung, run.steps_begun)

    def _denied(self, run: Run, refusal: Refusal) -> None:
        """End or retry a run whose claim was refused: the claim sees changes since the decision."""
        detail = refusal.detail
        gates = [*run.gates, GuardResult(name="claim", passed=False, detail=detail)]
        if run.steps_begun > 1:
            outcome = f"the next step was refused: {detail}; a person is needed"
            self.finisher.finish(run, State.FAILED, outcome=outcome, gates=gates)
            return
        # Steps performed before the denied one are rolled back.
        self.finisher.finish(
            run,
            State.REFUSED,
            refusal=refusal.reason,
            outcome=detail,
            gates=gates,
            next_act_at=self.clock() + RETRY_AFTER_S,
        )

    def _expire(self, run: Run) -> None:
        outcome = "nobody approved it in time"
        if run.steps_begun:
            self.finisher.finish(run, State.FAILED, outcome=f"{outcome}; a person is needed")
        else:
            again = self.clock() + RETRY_AFTER_S
            self.finisher.closer.close(run, State.EXPIRED, outcome=outcome, next_act_at=again)

    def _verify(self, run: Run, phase: Phase) -> None:
        now, verify = self.clock(), plan_of(run).verify
        intent = self._recorded_steps(run)[run.steps_begun - 1]
        progress = self.verification.progress(run, intent)
        since = None
        if progress is Progress.DONE and self.verification.recovered(run, intent, now):
            # Time without a verification, such as while this receiver was down, does not count.
            watched = now - run.updated_at <= 3 * self.interval_s + _SLACK_S
            since = run.recovered_since if run.recovered_since and watched else now
            if now - since >= verify.for_s:
                self._succeeded(run, now)
                return
        elif (
            now > (run.verify_until or 0)
            or progress is Progress.FAILED
            or self.verification.worse(run, now)
        ):
            self._not_recovered(run, intent)
            return
        following = Phase(run_id=run.id, kind=PhaseKind.VERIFY, number=phase.number + 1)
        delay_s = self.interval_s
        self._schedule(run, State.VERIFYING, following, delay_s=delay_s, recovered_since=since)

    def _succeeded(self, run: Run, now: float) -> None:
        with self.database.write() as connection:
            ledger.mark_verified(connection, run.id, run.steps_begun - 1, now)
        outcome = "the target recovered, as its metrics show"
        self.finisher.finish(run, State.SUCCEEDED, outcome=outcome)

    def _not_recovered(self, run: Run, intent: Intent) -> None:
        if intent.outcome is Outcome.UNKNOWN and not find_action(intent.action).idempotent:
            outcome = (
                f"it is unknown whether {intent.action} happened, and {intent.target} did not "
                "recover; a person is needed"
            )
            self.finisher.finish(run, State.FAILED, outcome=outcome)
            return
        self._redecide(run, run.next_rung, run.steps_begun)

    def _redecide(
        self, run: Run, rung: int, begun: int, *, next_act_at: float | None = None
    ) -> None:
        with self.database.write() as connection:
            transitions.move(
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

    def _recorded_steps(self, run: Run) -> Mapping[int, Intent]:
        """The run's steps by their number in the ledger."""
        with self.database.read() as connection:
            steps = ledger.intents_by_run(connection, [run.id]).get(run.id, ())
        return {step.step: step for step in steps}

    def _schedule(
        self,
        run: Run,
        state: State,
        phase: Phase,
        *,
        delay_s: float,
        **changes: Any,
    ) -> None:
        with self.database.write() as connection:
            if transitions.move(connection, run, state, self.clock(), phase=phase.id, **changes):
                self.queue.enqueue(connection, phase, delay_s=delay_s)
