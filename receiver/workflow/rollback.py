"""How a run that acted comes to its end: first undo what is to be undone, then tell people.

Steps that undo another one, and those that tell, have numbers of their own in the ledger, far
above the ladder's, so that a crash finds them again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from actions.base import Outcome
from actions.catalog.registry import CATALOG
from actions.execution import ledger
from actions.execution.ledger import Intent
from actions.execution.step import ReversedStep
from actions.reasons import Reason
from receiver.db.database import Database
from receiver.runs import store
from receiver.runs.model import Run, State
from receiver.workflow.closing import Closing
from receiver.workflow.durable_queue import Enqueues, Kind, Phase
from receiver.workflow.steps import DENIED, TELL_FROM, UNDO_FROM, Stepper, plan_of, step_of

_log = structlog.get_logger()
# While people keep us from undoing, it is tried again so often.
_HINDERED_S = 30.0
_BY_PEOPLE = frozenset({Reason.PAUSED, Reason.OVERRIDE_HOLD})
_MAY_HAVE_HAPPENED = frozenset({Outcome.CHANGED, Outcome.UNKNOWN})


@dataclass(frozen=True, kw_only=True)
class Finish:
    """`clock` gives epoch seconds."""

    database: Database
    closing: Closing
    engine: Enqueues
    stepper: Stepper
    clock: Callable[[], float]

    def end(
        self,
        run: Run,
        state: State,
        **changes: Any,
    ) -> bool:
        """End the run, with a phase before it where something is left to do.

        False where the run has moved on meanwhile.
        """
        failed, plan = state is State.FAILED, run.plan or {}
        everything = state is State.ROLLED_BACK or (failed and plan.get("rollback", False))
        with self.database.read() as connection:
            steps = ledger.intents_by_run(connection, [run.id]).get(run.id, ())
        undo = [step.step for step in self.undoable(steps, everything=everything)]
        tell = failed and bool(plan.get("escalate"))
        if not undo and not tell:
            return self.closing.close(run, state, **changes)
        ending = {"state": state, "undo": undo, "tell": tell, "changes": changes}
        now = self.clock()
        phase = Phase.first(run.id, Kind.FINISH, now)
        until = State.ROLLING_BACK if undo else State.ACTING
        with self.database.write() as connection:
            moved = store.move(connection, run, until, now, phase=phase.id, ending=ending)
            if moved:
                self.engine.enqueue(connection, phase)
        return moved

    def undoable(self, steps: Sequence[Intent], *, everything: bool) -> Sequence[Intent]:
        """Steps that can be taken back and were not, the last one first.

        Leased ones always; the others where `everything` is to be undone.
        """
        undone = {step.undoes for step in steps if step.undoes is not None}
        return [
            step
            for step in sorted(steps, key=lambda one: one.step, reverse=True)
            if step.step < UNDO_FROM
            and step.step not in undone
            and step.outcome in _MAY_HAVE_HAPPENED
            and (everything or CATALOG[step.action].released_at_end)
            and CATALOG[step.action].undo(self.stepper.executor.call(step)) is not None
        ]

    def carry_out(self, run: Run, phase: Phase) -> None:
        """Undo and tell, then end as was decided, or as failed where it could not be undone."""
        ending = run.ending or {}
        with self.database.read() as connection:
            steps = {
                step.step: step for step in ledger.intents_by_run(connection, [run.id])[run.id]
            }
        problems = []
        for number in ending["undo"]:
            undone = self._undo(run, steps[number])
            if isinstance(undone, Reason) and undone in _BY_PEOPLE:
                self._wait(run, phase)
                return
            if isinstance(undone, Reason):
                problems.append(f"{steps[number].action} was not undone: {DENIED[undone]}")
            elif undone.outcome not in {Outcome.CHANGED, Outcome.NOOP}:
                problems.append(f"{steps[number].action} was not undone: {undone.error}")
        if ending["tell"]:
            self._tell(run)
        self._end(run, ending, problems)

    def _wait(self, run: Run, phase: Phase) -> None:
        following = Phase(run_id=run.id, kind=Kind.FINISH, number=phase.number + 1)
        with self.database.write() as connection:
            if store.move(connection, run, run.state, self.clock(), phase=following.id):
                self.engine.enqueue(connection, following, delay_s=_HINDERED_S)

    def _end(self, run: Run, ending: Mapping[str, Any], problems: Sequence[str]) -> None:
        state, changes = State(ending["state"]), dict(ending["changes"])
        if problems:
            said = "; ".join((changes["outcome"], *problems, "a person is needed"))
            self.closing.close(run, State.FAILED, **changes | {"outcome": said})
            return
        if state is State.FAILED and plan_of(run)["rollback"] and ending["undo"]:
            state = State.ROLLED_BACK
            changes["outcome"] += "; what was done is undone"
        self.closing.close(run, state, **changes)

    def _undo(self, run: Run, done: Intent) -> Intent | Reason:
        action = CATALOG[done.action]
        undo = action.undo(self.stepper.executor.call(done))
        if undo is None:
            raise LookupError(f"{done.action} cannot be undone")
        step = replace(
            step_of(run),
            index=UNDO_FROM + done.step,
            action=CATALOG[undo.action],
            target=done.target,
            params=undo.params,
            reverses=ReversedStep(action, done),
        )
        return self.stepper.perform(run, step)

    def _tell(self, run: Run) -> None:
        """Tell people; where that is refused or fails, the run ends all the same."""
        for number, telling in enumerate(plan_of(run)["escalate"]):
            action = CATALOG[telling["action"]]
            step = replace(
                step_of(run),
                index=TELL_FROM + number,
                action=action,
                target=run.target or plan_of(run)["target"],
                params=telling["params"],
                cooldown_s=0.0,
            )
            told = self.stepper.perform(run, step)
            if isinstance(told, Reason) or told.outcome is not Outcome.CHANGED:
                why = str(told) if isinstance(told, Reason) else told.error
                _log.error("telling_failed", run=run.id, action=action.name, error=why)
