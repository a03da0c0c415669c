"""People's commands on a run: approve, deny, cancel, roll back, give feedback; all audited."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actions.audit import log
from actions.execution import ledger
from receiver.db.database import Database
from receiver.runs import feedback, intake, store, transitions
from receiver.runs.model import Approval, FeedbackMark, Run, State, StoredPlan
from receiver.webhook.inbox import Inbox
from receiver.workflow.close_run import RunFinisher
from receiver.workflow.steps import plan_of

_BEFORE_ACTING = frozenset({State.RECEIVED, State.DECIDING, State.AWAITING_APPROVAL})
_CANCELLABLE = _BEFORE_ACTING | {State.VERIFYING, State.ROLLING_BACK}
_ENDED = frozenset(state for state in State if state.ended)


class NoSuchRunError(Exception):
    """There is no run with this id."""


class NotNowError(Exception):
    """The run's state does not allow the command, or has just changed; the text has the reason."""


@dataclass(frozen=True, kw_only=True)
class RunCommands:
    """People's commands; each raises NoSuchRunError or NotNowError.

    `by` is the person, `comment` the reason. `wake` makes the dispatcher decide a run again.
    """

    database: Database
    inbox: Inbox
    finisher: RunFinisher
    clock: Callable[[], float]
    wake: Callable[[], None]

    def approve(self, run_id: str, by: str, comment: str, *, digest: str | None = None) -> None:
        """Approve the waiting plan. The run is decided again, and acts if its plan is the same.

        With a `digest`, only the plan with this digest is approved.
        """
        run = self._run(run_id, frozenset({State.AWAITING_APPROVAL}), "approved")
        plan, now = plan_of(run), self.clock()
        if digest is not None and plan.digest != digest:
            raise NotNowError("the plan has changed since it was shown")
        if now >= (run.next_act_at or now):
            raise NotNowError("the time to approve the plan has passed")
        approval = _answer(plan, by, comment, now, denied=False)
        with self.database.write() as connection:
            moved = transitions.move(
                connection,
                run,
                State.DECIDING,
                now,
                command=_event(run, "approved", by, comment),
                phase=None,
                next_act_at=None,
                approval=approval,
            )
        if not moved:
            raise NotNowError("the run has just changed: look at it again")
        self.wake()

    def deny(self, run_id: str, by: str, comment: str) -> None:
        """Deny the waiting plan: the run ends."""
        run = self._run(run_id, frozenset({State.AWAITING_APPROVAL}), "denied")
        denial = _answer(plan_of(run), by, comment, self.clock(), denied=True)
        self._end(run, State.CANCELLED, "denied", by, comment, approval=denial)

    def cancel(self, run_id: str, by: str, comment: str) -> None:
        """End the run before its next step; steps already taken are not rolled back.

        This also stops a rollback or an escalation; a person can order the rollback again.
        """
        run = self._run(run_id, _CANCELLABLE, "cancelled")
        if run.state is not State.ROLLING_BACK:
            self._end(run, State.CANCELLED, "cancelled", by, comment)
            return
        command = _event(run, "cancelled", by, comment)
        outcome = f"cancelled by {by}, and its rollback stopped: {comment}"
        closer = self.finisher.closer
        if not closer.close(run, State.CANCELLED, command=command, outcome=outcome):
            raise NotNowError("the run has just changed: look at it again")

    def roll_back(self, run_id: str, by: str, comment: str) -> None:
        """Roll back all steps of the run, the last one first, even if the run has ended."""
        run = self._run(run_id, _ENDED | {State.VERIFYING}, "rolled back")
        with self.database.read() as connection:
            steps = ledger.intents_by_run(connection, [run.id]).get(run.id, ())
        if not self.finisher.rollback.reversible_steps(steps, everything=True):
            raise NotNowError("the run has no step that can be rolled back")
        self._end(run, State.ROLLED_BACK, "rolled_back", by, comment)

    def mark(self, run_id: str, by: str, comment: str, *, right: bool) -> None:
        """Set a person's feedback on an ended run; it replaces earlier feedback."""
        run, now = self._run(run_id, _ENDED, "marked"), self.clock()
        given = FeedbackMark(right=right, by=by, comment=comment, at=now)
        with self.database.write() as connection:
            feedback.set_feedback(connection, run, given)
        self.finisher.closer.count_feedback(run, right=right)

    def _end(
        self,
        run: Run,
        state: State,
        event: str,
        by: str,
        comment: str,
        **changes: Any,
    ) -> None:
        participle = event.replace("_", " ")
        outcome = f"{participle} by {by}: {comment}"
        command = _event(run, event, by, comment)
        if not self.finisher.finish(run, state, command=command, outcome=outcome, **changes):
            raise NotNowError("the run has just changed: look at it again")

    def _run(self, run_id: str, states: frozenset[State], participle: str) -> Run:
        with self.database.read() as connection:
            run = store.get(connection, run_id)
        if run is None:
            run = self._insert_from_inbox(run_id)
        if run.state not in states:
            raise NotNowError(f"a run that is {run.state} cannot be {participle}")
        return run

    def _insert_from_inbox(self, run_id: str) -> Run:
        """Insert the run of an alert that the dispatcher has not taken yet."""
        queued = self.inbox.queued_alert(run_id)
        with self.database.write() if queued else self.database.read() as connection:
            if queued is not None:
                intake.insert_from_inbox(connection, [queued], self.clock())
            # The alert may have left the inbox after the run was looked up.
            run = store.get(connection, run_id)
        if run is None:
            raise NoSuchRunError
        return run


def _answer(plan: StoredPlan, by: str, comment: str, now: float, *, denied: bool) -> Approval:
    return Approval(digest=plan.digest, by=by, comment=comment, at=now, denied=denied)


def _event(run: Run, event: str, by: str, comment: str) -> log.Event:
    return log.Event(
        actor=by, event=f"run_{event}_by_a_person", run_id=run.id, detail={"comment": comment}
    )
