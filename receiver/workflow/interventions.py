"""What people do to a run: approve, deny, cancel, roll back; in the audit with who and why."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from actions.audit import log
from actions.execution import ledger
from receiver.db.database import Database
from receiver.runs import store
from receiver.runs.model import Run, State
from receiver.workflow.rollback import Finish

_BEFORE_ACTING = frozenset({State.RECEIVED, State.DECIDING, State.AWAITING_APPROVAL})
_CANCELLABLE = _BEFORE_ACTING | {State.VERIFYING}


class NoSuchRunError(Exception):
    """There is no run with this id."""


class NotNowError(Exception):
    """The run is in no state for it, or has just moved on; the text says which."""


@dataclass(frozen=True, kw_only=True)
class Interventions:
    """Each method raises NoSuchRunError or NotNowError. `by` is who, `comment` why.

    `wake` has the assessor look at a run that is to be decided on again.
    """

    database: Database
    finish: Finish
    clock: Callable[[], float]
    wake: Callable[[], None]

    def approve(self, run_id: str, by: str, comment: str, *, digest: str | None = None) -> None:
        """Say yes to the plan that waits. It is decided on anew, and must come out the same.

        With a `digest` it is this very plan, or none.
        """
        run = self._run(run_id, frozenset({State.AWAITING_APPROVAL}), "approved")
        plan, now = run.plan or {}, self.clock()
        if digest is not None and plan["digest"] != digest:
            raise NotNowError("the plan is another one by now")
        if now >= (run.next_act_at or now):
            raise NotNowError("the time to approve it is over")
        approval = _said(plan, by, comment, now, denied=False)
        with self.database.write() as connection:
            moved = store.move(
                connection,
                run,
                State.DECIDING,
                now,
                phase=None,
                next_act_at=None,
                approval=approval,
            )
            if moved:
                log.append(connection, now, _event(run, "approved", by, comment))
        if not moved:
            raise NotNowError("the run has just moved on")
        self.wake()

    def deny(self, run_id: str, by: str, comment: str) -> None:
        """Say no to the plan that waits: the run ends."""
        run = self._run(run_id, frozenset({State.AWAITING_APPROVAL}), "denied")
        said = _said(run.plan or {}, by, comment, self.clock(), denied=True)
        self._end(run, State.CANCELLED, "denied", by, comment, approval=said)

    def cancel(self, run_id: str, by: str, comment: str) -> None:
        """End the run before its next step; what was done stays done."""
        run = self._run(run_id, _CANCELLABLE, "cancelled")
        self._end(run, State.CANCELLED, "cancelled", by, comment)

    def roll_back(self, run_id: str, by: str, comment: str) -> None:
        """Undo all that the run did, the last step first, also where it has ended."""
        states = frozenset(state for state in State if state.ended) | {State.VERIFYING}
        run = self._run(run_id, states, "rolled back")
        with self.database.read() as connection:
            steps = ledger.intents_by_run(connection, [run.id]).get(run.id, ())
        if not self.finish.undoable(steps, everything=True):
            raise NotNowError("the run did nothing that can be undone")
        self._end(run, State.ROLLED_BACK, "rolled_back", by, comment)

    def mark(self, run_id: str, by: str, comment: str, *, right: bool) -> None:
        """Say whether the service did right, once the run is over; who says it anew is believed."""
        ended = frozenset(state for state in State if state.ended)
        run, now = self._run(run_id, ended, "marked"), self.clock()
        said = {"right": right, "by": by, "comment": comment, "at": now}
        with self.database.write() as connection:
            store.mark(connection, run, said, now)
        self.finish.closing.marked(run, right=right)

    def _end(
        self,
        run: Run,
        state: State,
        event: str,
        by: str,
        comment: str,
        **changes: Any,
    ) -> None:
        now = self.clock()
        said = event.replace("_", " ")
        if not self.finish.end(run, state, outcome=f"{said} by {by}: {comment}", **changes):
            raise NotNowError("the run has just moved on")
        with self.database.write() as connection:
            log.append(connection, now, _event(run, event, by, comment))

    def _run(self, run_id: str, states: frozenset[State], said: str) -> Run:
        with self.database.read() as connection:
            run = store.get(connection, run_id)
        if run is None:
            raise NoSuchRunError
        if run.state not in states:
            raise NotNowError(f"a run that is {run.state} cannot be {said}")
        return run


def _said(
    plan: Mapping[str, Any], by: str, comment: str, now: float, *, denied: bool
) -> dict[str, Any]:
    return {"digest": plan["digest"], "by": by, "comment": comment, "at": now, "denied": denied}


def _event(run: Run, event: str, by: str, comment: str) -> log.Event:
    return log.Event(
        actor=by, event=f"run_{event}_by_a_person", run_id=run.id, detail={"comment": comment}
    )
