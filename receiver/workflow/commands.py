"""People's commands on a run: approve, deny, cancel, roll back, give feedback; all audited."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import structlog
from sqlalchemy import select

from actions.audit import log
from actions.base import Outcome
from actions.execution import ledger
from actions.execution.ledger import Intent
from actions.reasons import Reason
from receiver.db.database import Database
from receiver.db.tables import runs
from receiver.runs import feedback, intake, store
from receiver.runs.model import REMEDIED, Acknowledgement, Approval, FeedbackMark, Mark, Run, State
from receiver.runtime.rfc3339 import DAY_S
from receiver.webhook.delivery import InboxUnavailableError
from receiver.webhook.episodes import RunEnded
from receiver.webhook.inbox import Inbox
from receiver.workflow.approvals import (
    Answer,
    Approvals,
    NoSuchRunError,
    NotNowError,
    require_plan,
    require_same_plan,
)
from receiver.workflow.lifecycle import Lifecycle

_log = structlog.get_logger()
_CANCELLABLE = frozenset({State.RECEIVED, State.DECIDING, State.AWAITING_APPROVAL, State.VERIFYING})
# The work that a cancellation stops, by the run's state.
_ENDING = MappingProxyType({State.ROLLING_BACK: "rollback", State.ACTING: "escalation"})
_STORED_S = 30.0
# No override lasts longer.
_PAST_S = 366 * DAY_S
_ENDED = frozenset(state for state in State if state.ended)


@dataclass(frozen=True, kw_only=True)
class RunCommands:
    """People's commands; each returns what it did, or raises NoSuchRunError or NotNowError.

    `by` is the person, `comment` the reason, `plan` the digest of the plan that the person saw.
    """

    database: Database
    inbox: Inbox
    lifecycle: Lifecycle
    approvals: Approvals
    clock: Callable[[], float]

    def lifted(self, reason: Reason) -> None:
        """Take up again what was refused for a `reason` that a person lifted early.

        The next repeat of each alert is decided: what still stands in its way refuses it again.
        Where that cannot be stored they wait until the planned time, and a log line says so.
        """
        now = self.clock()
        waits = (runs.c.state == State.REFUSED, runs.c.refusal == reason, runs.c.next_act_at > now)
        query = select(runs.c.id, runs.c.ended_at).where(*waits, runs.c.received_at > now - _PAST_S)
        with self.database.read() as connection:
            ended = connection.execute(query).all()
        self.inbox.record_end(*(RunEnded(run.id, run.ended_at, now) for run in ended))
        try:
            # What comes after them is stored with them: what the person did is on disk.
            self.inbox.submit([], now).result(_STORED_S)
        except (InboxUnavailableError, TimeoutError) as error:
            _log.warning("lift_not_stored", reason=str(reason), error=repr(error))

    def approve(self, run_id: str, by: str, comment: str, *, plan: str, person: str = "") -> Answer:
        """Approve the waiting plan. Raises NotAllowedError if the person may not approve it.

        `person` is the person who holds the token `by`, if the token has another name.
        """
        self._run(run_id)
        now = self.clock()
        return self.approvals.approve(
            run_id,
            Approval(
                digest=plan, by=by, person=person or by, comment=comment, at=now, denied=False
            ),
        )

    def deny(self, run_id: str, by: str, comment: str, *, plan: str, person: str = "") -> Answer:
        """Deny the waiting plan: the run ends."""
        run = self._run(run_id)
        with self.database.read() as connection:
            stored = require_plan(connection, run, plan, "denied")
        denial = Approval(
            digest=plan, by=by, person=person, comment=comment, at=self.clock(), denied=True
        )
        outcome, command = f"denied by {by}: {comment}", _event(run, "denied", by, comment)
        _require(moved=self.lifecycle.cancel(run, outcome, command, approval=denial))
        return Answer(text=f"denied {stored.action} on {stored.target} (plan {plan[:8]})")

    def cancel(self, run_id: str, by: str, comment: str, *, plan: str | None = None) -> Answer:
        """End the run before its next step; steps already taken are not rolled back.

        This also stops a rollback or an escalation; a person can order the rollback again.
        """
        run, stopped = self._run(run_id), ""
        if run.ending is not None and run.state in _ENDING:
            stopped = f", and its {_ENDING[run.state]} stopped"
        else:
            _require_state(run, _CANCELLABLE, "cancelled")
        self._require_same_plan(run, plan)
        taken = _taken(self._steps(run))
        outcome = f"cancelled by {by}{stopped}: {comment}"
        command = _event(run, "cancelled", by, comment)
        _require(moved=self.lifecycle.cancel(run, outcome, command))
        return Answer(text=f"cancelled{stopped}; {taken}")

    def roll_back(self, run_id: str, by: str, comment: str, *, plan: str | None = None) -> Answer:
        """Roll back all steps of the run, the last one first, even if the run has ended."""
        run = self._run(run_id)
        _require_state(run, _ENDED | {State.VERIFYING}, "rolled back")
        self._require_same_plan(run, plan)
        rollback = self.lifecycle.ending.rollback
        steps = rollback.reversible_steps(self._steps(run), everything=True)
        if not steps:
            raise NotNowError("the run has no step that can be rolled back")
        command = _event(run, "rolled_back", by, comment)
        outcome = f"rolled back by {by}: {comment}"
        _require(moved=self.lifecycle.end(run, State.ROLLED_BACK, outcome, command=command))
        return Answer(text=f"rolling back {_names(steps)}")

    def mark(self, run_id: str, by: str, comment: str, *, right: bool) -> Answer:
        """Set a person's feedback on an ended run; it replaces earlier feedback."""
        run, now = self._run(run_id), self.clock()
        _require_state(run, _ENDED, "marked")
        given = FeedbackMark(right=right, by=by, comment=comment, at=now)
        with self.database.write() as connection:
            feedback.set_feedback(connection, run, given)
        self.lifecycle.closer.count_feedback(run, right=right)
        return Answer(text=f"marked as {Mark.RIGHT if right else Mark.WRONG}")

    def acknowledge(self, run_id: str, by: str, comment: str) -> Answer:
        """Say that a person is on it: people are not told again that nobody is."""
        run = self._run(run_id)
        if run.state in REMEDIED:
            raise NotNowError(f"the run is {run.state}: nobody has to be on it")
        given = Acknowledgement(by=by, comment=comment, at=self.clock())
        with self.database.write() as connection:
            feedback.acknowledge(connection, run, given)
        return Answer(text=f"acknowledged by {by}")

    def _require_same_plan(self, run: Run, plan: str | None) -> None:
        if plan is not None:
            with self.database.read() as connection:
                require_same_plan(connection, run, plan)

    def _steps(self, run: Run) -> Sequence[Intent]:
        with self.database.read() as connection:
            return ledger.intents_by_run(connection, [run.id]).get(run.id, ())

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
        raise NotNowError("the run has just changed: reload it and try again")


def _taken(steps: Sequence[Intent]) -> str:
    taken = [step for step in steps if step.undoes is None and step.outcome is not Outcome.FAILED]
    return f"executed and not rolled back: {_names(taken)}" if taken else "no step was executed"


def _names(steps: Sequence[Intent]) -> str:
    return ", ".join(f"{step.action} on {step.target}" for step in steps)


def _event(run: Run, event: str, by: str, comment: str) -> log.Event:
    return log.Event(
        actor=by, event=f"run_{event}_by_a_person", run_id=run.id, detail={"comment": comment}
    )
