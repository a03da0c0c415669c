"""The life of a run after a decision, in order.

    decided    act, ask, or end
    asked      approved and decided again; or denied, cancelled, expired
    act        prepare the target, perform the step
    verify     until the target recovered, or the time is up
    next step  decided again, on the next rung of the ladder
    end        roll back, escalate, close

`act`, `verify`, `expire` and `finish` are phases of the durable queue, safe to repeat; a wait is a
delayed phase. No method changes a run that has changed since it was read.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog

from actions.audit import log
from actions.base import Outcome
from actions.execution import ledger
from actions.execution.ledger import Intent
from actions.execution.preparation import Begin
from actions.reasons import Reason
from actions.refusal import RETRY_AFTER_S, Refusal
from actions.step_key import StepKey, StepKind
from receiver.db.database import Database
from receiver.runs import transitions
from receiver.runs.model import Ending, GuardResult, Run, State
from receiver.workflow import step_results
from receiver.workflow.durable_queue import DurableQueue, Phase, PhaseKind
from receiver.workflow.endings.close_run import RunCloser
from receiver.workflow.endings.runner import EndingRunner
from receiver.workflow.step_results import PERSON, AwsAnswer, Health, Next
from receiver.workflow.steps import StepRunner, step_of
from receiver.workflow.verification import Verification

_log = structlog.get_logger()
# An older decision whose step did not begin is made again on fresh state.
_DECISION_LASTS_S = 60.0
# If a verification is later than three intervals plus this, the wait for recovery starts again.
_SLACK_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Lifecycle:
    """Moves runs. `lead` opens a write transaction of the leader; `wake` wakes the dispatcher."""

    database: Database
    lead: Begin
    queue: DurableQueue
    closer: RunCloser
    step_runner: StepRunner
    verification: Verification
    ending: EndingRunner
    verify_every_s: float
    clock: Callable[[], float]
    wake: Callable[[], None]

    # Decided: act, or ask.

    def begin(self, run: Run, changes: Mapping[str, Any]) -> None:
        """Act on the decided plan at once; the decision is on disk before anything is sent."""
        phase = Phase.first(run.id, PhaseKind.ACT, now := self.clock())
        changes = {**changes, "phase": phase.id}
        with self.lead(synced=False) as connection:
            moved = transitions.move(connection, run, State.ACTING, now, **changes)
            begin = self.queue.begin(connection, phase) if moved else None
        if begin is not None:
            begin()

    def ask(self, run: Run, lasts_s: float, changes: Mapping[str, Any]) -> None:
        """Wait for a person's approval of the plan, until it expires."""
        phase = Phase.first(run.id, PhaseKind.EXPIRE, self.clock())
        self._move(run, State.AWAITING_APPROVAL, phase, delay_s=lasts_s, **changes)

    # Asked: people approve the plan (approvals.py), deny it, or do not answer.

    def cancel(self, run: Run, outcome: str, command: log.Event, **changes: Any) -> bool:
        """End the run before its next step, or stop its rollback or escalation."""
        if run.ending is None:
            return self.end(run, State.CANCELLED, outcome, command=command, **changes)
        return self.closer.close(run, State.CANCELLED, outcome=outcome, command=command)

    def expire(self, run: Run) -> None:
        outcome = "nobody approved the plan in time"
        if run.steps_begun:
            self.end(run, State.FAILED, f"{outcome}; {PERSON}")
        else:
            self._close_retryable(run, State.EXPIRED, outcome)

    # Act: prepare the target, perform the step.

    def act(self, run: Run, phase: Phase) -> None:
        step, recorded = step_of(run), self.recorded_steps(run)
        old = self.clock() - (run.decided_at or 0) > _DECISION_LASTS_S
        if old and step.key not in recorded:
            # The key of a recorded step is never used again.
            on_record = self.step_runner.settle_unfinished(run, recorded)
            self.redecide(run, run.next_rung - 1, run.steps_begun - (not on_record))
            return
        unprepared, captured = self.step_runner.run_before_steps(run, recorded)
        if unprepared is None and (wait_s := self.step_runner.capture_s(run, self.recorded_steps)):
            self._move(run, State.ACTING, phase.following(PhaseKind.ACT), delay_s=wait_s)
            return
        result = unprepared or self.step_runner.run_step(run, step)
        self.step_runner.capture_beside(run, captured)
        if isinstance(result, Refusal):
            self._refused(run, result)
        elif result.outcome is Outcome.FAILED:
            self._never_ran(run, result)
        elif result.step != step.key:
            why = step_results.explain(result, AwsAnswer.UNKNOWN, Health.UNKNOWN)
            self.end(run, State.FAILED, why)
        else:
            until = self.verification.first_deadline(run, result, self.clock())
            self._verify_later(run, phase, verify_until=until, recovered_since=None)

    def _refused(self, run: Run, refusal: Refusal) -> None:
        """End or retry a run whose claim was refused: something changed since the decision."""
        detail, again = refusal.detail, self.clock() + RETRY_AFTER_S
        gates = [*run.gates, GuardResult(name="claim", passed=False, detail=detail)]
        if run.steps_begun > 1:
            outcome = f"the next step was refused: {detail}; {PERSON}"
            self.end(run, State.FAILED, outcome, gates=gates)
        else:
            # Steps performed before the refused one are rolled back.
            kept = {"refusal": refusal.reason, "next_act_at": again}
            self.end(run, State.REFUSED, detail, gates=gates, **kept)

    def _never_ran(self, run: Run, step: Intent) -> None:
        """Try a step again that did not happen, or call a person: a heavier one has no reason."""
        _log.warning("step_failed", run=run.id, action=step.action, error=step.error)
        retry_s = step_results.retry_in_s(step, self.recorded_steps(run))
        if step_results.judge_refused(step, late=retry_s is None).next is Next.RETRY:
            later = self.clock() + (retry_s or 0.0)
            self.redecide(run, run.next_rung - 1, run.steps_begun, next_act_at=later)
        else:
            self.end(run, State.FAILED, step_results.explain_never_ran(step))

    # Verify: until the target recovered, or the time is up.

    def verify(self, run: Run, phase: Phase) -> None:
        now, recorded = self.clock(), self.recorded_steps(run)
        self.step_runner.complete_capture(run, recorded)
        step = self.verification.advance(run, recorded[step_of(run).key])
        if step.outcome is Outcome.FAILED:
            self._never_ran(run, step)
            return
        look = self.verification.look(run, step, now)
        since = self._recovered_since(run, now) if look.health is Health.RECOVERED else None
        held = since is not None and now - since >= look.hold_s
        result, following = step_results.judge(look.aws, look.health, late=look.late, held=held)
        if result is not step.result:
            with self.database.write() as connection:
                ledger.record_result(connection, step, result, now)
        match following:
            case Next.CLOSE:
                self.end(run, State.SUCCEEDED, "the target recovered, as its metrics show")
            case Next.NEXT_RUNG:
                self.redecide(run, run.next_rung, run.steps_begun)
            case Next.PERSON | Next.RETRY:
                self.end(run, State.FAILED, step_results.explain(step, look.aws, look.health))
            case Next.WAIT:
                self._verify_later(run, phase, verify_until=look.until, recovered_since=since)

    def _recovered_since(self, run: Run, now: float) -> float:
        """When the recovery began; time without a verification does not count."""
        watched = now - run.updated_at <= 3 * self.verify_every_s + _SLACK_S
        return run.recovered_since if run.recovered_since and watched else now

    def _verify_later(self, run: Run, phase: Phase, **changes: Any) -> None:
        following = phase.following(PhaseKind.VERIFY)
        self._move(run, State.VERIFYING, following, delay_s=self.verify_every_s, **changes)

    # Next step: the dispatcher decides again.

    def redecide(self, run: Run, rung: int, begun: int, **changes: Any) -> bool:
        changes = {"next_act_at": None, "next_rung": rung, "steps_begun": begun, **changes}
        moved = self._move(run, State.DECIDING, None, **changes)
        self.wake()
        return moved

    # End: roll back, escalate, close.

    def end(self, run: Run, state: State, outcome: str, **changes: Any) -> bool:
        """Close the run; if a rollback or an escalation is needed, do that first.

        `command` is the audit record of the person who ends it. Returns False if the run has
        changed.
        """
        if (ending := self.ending.plan(run, state, outcome, self.recorded_steps(run))) is None:
            return self.closer.close(run, state, outcome=outcome, **changes)
        kept = {name: changes.pop(name, None) for name in ("refusal", "next_act_at")}
        phase = Phase.first(run.id, PhaseKind.FINISH, self.clock())
        until = State.ROLLING_BACK if ending.roll_back else State.ACTING
        return self._move(run, until, phase, ending=replace(ending, **kept), **changes)

    def finish(self, run: Run, phase: Phase) -> None:
        """Roll back, escalate until somebody is reached, then close the run."""
        self._finish(run, phase, *self.ending.carry_out(run, self.recorded_steps(run)))

    def give_up(self, run: Run, phase: Phase, reason: str) -> None:
        """End a run whose phase failed in every attempt; without a step on record it is refused."""
        if phase.kind is PhaseKind.FINISH:
            self._finish(run, phase, *self.ending.without_rollback(run, reason))
        elif any(key.kind is not StepKind.CAPTURE for key in self.recorded_steps(run)):
            self.end(run, State.FAILED, f"{reason}; {PERSON}")
        else:
            self._close_retryable(run, State.REFUSED, reason, refusal=Reason.STATE_UNKNOWN)

    def _finish(self, run: Run, phase: Phase, ending: Ending, again_in_s: float | None) -> None:
        if again_in_s is None:
            state, outcome = self.ending.result(run, ending)
            kept: dict[str, Any] = {"refusal": ending.refusal, "next_act_at": ending.next_act_at}
            self.closer.close(run, state, outcome=outcome, **kept)
        else:
            again = phase.following(PhaseKind.FINISH)
            self._move(run, run.state, again, delay_s=again_in_s, ending=ending)

    def _close_retryable(self, run: Run, state: State, outcome: str, **changes: Any) -> None:
        """Close a run that did nothing, so that a repeat of its alert is decided again."""
        again = self.clock() + RETRY_AFTER_S
        self.closer.close(run, state, outcome=outcome, next_act_at=again, **changes)

    def _move(
        self,
        run: Run,
        state: State,
        phase: Phase | None,
        *,
        delay_s: float = 0.0,
        command: log.Event | None = None,
        **changes: Any,
    ) -> bool:
        """Change the state and enqueue the next phase, in one transaction."""
        changes["phase"] = phase.id if phase else None
        now = self.clock()
        with self.database.write() as connection:
            moved = transitions.move(connection, run, state, now, command=command, **changes)
            if moved and phase:
                self.queue.enqueue(connection, phase, delay_s=delay_s)
        return moved

    def recorded_steps(self, run: Run) -> Mapping[StepKey, Intent]:
        with self.database.ask() as connection:
            steps = ledger.intents_by_run(connection, [run.id]).get(run.id, ())
        return {step.step: step for step in steps}
