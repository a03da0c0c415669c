"""People's commands on a run: approve, deny, cancel, roll back, give feedback; all audited."""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from actions.audit import log
from actions.execution import ledger
from receiver.db.database import Database
from receiver.runs import feedback, intake, store
from receiver.runs.model import Approval, FeedbackMark, Run, State, StoredPlan
from receiver.webhook.inbox import Inbox
from receiver.workflow.lifecycle import Lifecycle
from receiver.workflow.steps import plan_of

_ASKED = frozenset({State.AWAITING_APPROVAL})
_CANCELLABLE = _ASKED | {State.RECEIVED, State.DECIDING, State.VERIFYING}
# The work that a cancellation stops, by the run's state.
_ENDING = MappingProxyType({State.ROLLING_BACK: "rollback", State.ACTING: "escalation"})
_ENDED = frozenset(state for state in State if state.ended)


class NoSuchRunError(Exception):
    """There is no run with this id."""


class NotNowError(Exception):
    """The run's state does not allow the command, or has just changed; the text has the reason."""


@dataclass(frozen=True, kw_only=True)
class RunCommands:
    """People's commands; each raises NoSuchRunError or NotNowError.

    `by` is the person, `comment` the reason.
    """

    database: Database
    inbox: Inbox
    lifecycle: Lifecycle
    clock: Callable[[], float]

    def approve(self, run_id: str, by: str, comment: str, *, digest: str | None = None) -> None:
        """Approve the waiting plan. The run is decided again, and acts if its plan is the same.

        With a `digest`, only the plan with this digest is approved.
        """
        run = self._run(run_id)
        _require_state(run, _ASKED, "approved")
        plan, now = plan_of(run), self.clock()
        if digest is not None and plan.digest != digest:
            raise NotNowError("the plan has changed since it was shown")
        if now >= (run.next_act_at or now):
            raise NotNowError("the time to approve the plan has passed")
        approval = _answer(plan, by, comment, now, denied=False)
        command = _event(run, "approved", by, comment)
        _require(moved=self.lifecycle.approve(run, approval, command))

    def deny(self, run_id: str, by: str, comment: str) -> None:
        """Deny the waiting plan: the run ends."""
        run = self._run(run_id)
        _require_state(run, _ASKED, "denied")
        denial = _answer(plan_of(run), by, comment, self.clock(), denied=True)
        outcome, command = f"denied by {by}: {comment}", _event(run, "denied", by, comment)
        _require(moved=self.lifecycle.cancel(run, outcome, command, approval=denial))

    def cancel(self, run_id: str, by: str, comment: str) -> None:
        """End the run before its next step; steps already taken are not rolled back.

        This also stops a rollback or an escalation; a person can order the rollback again.
        """
        run, stopped = self._run(run_id), ""
        if run.ending is not None and run.state in _ENDING:
            stopped = f", and its {_ENDING[run.state]} stopped"
        else:
            _require_state(run, _CANCELLABLE, "cancelled")
        outcome = f"cancelled by {by}{stopped}: {comment}"
        command = _event(run, "cancelled", by, comment)
        _require(moved=self.lifecycle.cancel(run, outcome, command))

    def roll_back(self, run_id: str, by: str, comment: str) -> None:
        """Roll back all steps of the run, the last one first, even if the run has ended."""
        run = self._run(run_id)
        _require_state(run, _ENDED | {State.VERIFYING}, "rolled back")
        with self.database.read() as connection:
            steps = ledger.intents_by_run(connection, [run.id]).get(run.id, ())
        if not self.lifecycle.ending.rollback.reversible_steps(steps, everything=True):
            raise NotNowError("the run has no step that can be rolled back")
        command = _event(run, "rolled_back", by, comment)
        outcome = f"rolled back by {by}: {comment}"
        _require(moved=self.lifecycle.end(run, State.ROLLED_BACK, outcome, command=command))

    def mark(self, run_id: str, by: str, comment: str, *, right: bool) -> None:
        """Set a person's feedback on an ended run; it replaces earlier feedback."""
        run, now = self._run(run_id), self.clock()
        _require_state(run, _ENDED, "marked")
        given = FeedbackMark(right=right, by=by, comment=comment, at=now)
        with self.database.write() as connection:
            feedback.set_feedback(connection, run, given)
        self.lifecycle.closer.count_feedback(run, right=right)

    def _run(self, run_id: str) -> Run:
        with self.database.read() as connection:
            run = store.get(connection, run_id)
        return self._insert_from_inbox(run_id) if run is None else run

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


def _require_state(run: Run, states: frozenset[State], participle: str) -> None:
    if run.state not in states:
        raise NotNowError(f"a run that is {run.state} cannot be {participle}")


def _require(*, moved: bool) -> None:
    if not moved:
        raise NotNowError("the run has just changed: look at it again")


def _answer(plan: StoredPlan, by: str, comment: str, now: float, *, denied: bool) -> Approval:
    return Approval(digest=plan.digest, by=by, comment=comment, at=now, denied=denied)


def _event(run: Run, event: str, by: str, comment: str) -> log.Event:
    return log.Event(
        actor=by, event=f"run_{event}_by_a_person", run_id=run.id, detail={"comment": comment}
    )
