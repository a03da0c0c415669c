"""Ends runs: rolls back and escalates where needed, then records, counts and logs the end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog
from sqlalchemy import Connection

from actions.audit import log
from actions.execution import circuit_breakers, ledger, rate_limits
from receiver.controls import arming
from receiver.db.database import Database
from receiver.metrics import NO_PLAYBOOK
from receiver.runs import transitions
from receiver.runs.model import Ending, Mark, Run, State
from receiver.runs.transitions import Transition
from receiver.webhook.episodes import RunEnded
from receiver.webhook.inbox import Inbox
from receiver.workflow.durable_queue import Phase, PhaseKind, PhaseQueue
from receiver.workflow.escalation import Escalation
from receiver.workflow.metrics import RunMetrics
from receiver.workflow.rollback import BlockedError, Rollback
from receiver.workflow.steps import RunStoppedError, plan_of

_log = structlog.get_logger()
# Retry interval of a rollback or an escalation that a pause of everything blocks.
_BLOCKED_RETRY_S = 30.0


@dataclass(frozen=True, kw_only=True)
class RunCloser:
    """Records the end of runs. `clock` gives epoch seconds."""

    database: Database
    inbox: Inbox
    metrics: RunMetrics
    clock: Callable[[], float]

    def close(
        self, run: Run, state: State, *, command: log.Event | None = None, **changes: Any
    ) -> bool:
        """End the run; its alert may open a new one from `next_act_at`.

        `command` is the audit record of the person who ended it. Returns False if the run changed
        after it was read.
        """
        return bool(self.close_all([Transition(run, state, changes, command)]))

    def close_all(self, endings: Sequence[Transition]) -> int:
        """End runs in one transaction, except those that changed. Returns the number that ended."""
        now = self.clock()
        with self.database.write() as connection:
            ended = transitions.move_all(connection, endings, now)
            for transition in ended:
                _update_breaker(connection, transition, now)
        self.inbox.record_end(
            *(RunEnded(ending.run.id, now, ending.changes.get("next_act_at")) for ending in ended)
        )
        for transition in ended:
            self._count(transition, now)
        return len(ended)

    def count_feedback(self, run: Run, *, right: bool) -> None:
        mark = Mark.RIGHT if right else Mark.WRONG
        self.metrics.marks.labels(run.playbook or NO_PLAYBOOK, mark).inc()

    def _count(self, ending: Transition, now: float) -> None:
        run, state, changes = ending.run, ending.state, ending.changes
        playbook = changes.get("playbook") or run.playbook or NO_PLAYBOOK
        self.metrics.ended.labels(playbook, state).inc()
        if state is State.REFUSED:
            self.metrics.refusals.labels(changes["refusal"]).inc()
        if state is State.SUCCEEDED:
            recovery_s = max(0.0, now - run.starts_at)
            self.metrics.time_to_recovery.labels(playbook).observe(recovery_s)
        reasons = {key: changes[key] for key in ("refusal", "outcome") if changes.get(key)}
        write = _log.error if state is State.FAILED else _log.info
        write("run_ended", run=run.id, state=str(state), playbook=playbook, **reasons)


@dataclass(frozen=True, kw_only=True)
class RunFinisher:
    """Rolls back and escalates before a run is closed. `clock` gives epoch seconds."""

    database: Database
    closer: RunCloser
    queue: PhaseQueue
    rollback: Rollback
    escalation: Escalation
    clock: Callable[[], float]

    def finish(
        self,
        run: Run,
        state: State,
        outcome: str,
        *,
        command: log.Event | None = None,
        **changes: Any,
    ) -> bool:
        """Close the run, after a FINISH phase if a rollback or an escalation is needed.

        `command` is the audit record of the person who ends it. Returns False if the run changed
        after it was read.
        """
        failed, plan = state is State.FAILED, run.plan
        everything = state is State.ROLLED_BACK or (failed and plan is not None and plan.rollback)
        with self.database.read() as connection:
            steps = ledger.intents_by_run(connection, [run.id]).get(run.id, ())
        reversible = self.rollback.reversible_steps(steps, everything=everything)
        escalate = failed and plan is not None and bool(plan.escalate)
        if not reversible and not escalate:
            return self.closer.close(run, state, command=command, outcome=outcome, **changes)
        ending = Ending(
            state=state,
            outcome=outcome,
            refusal=changes.pop("refusal", None),
            next_act_at=changes.pop("next_act_at", None),
            roll_back=[step.step for step in reversible],
            escalate=escalate,
        )
        now = self.clock()
        phase = Phase.first(run.id, PhaseKind.FINISH, now)
        until = State.ROLLING_BACK if reversible else State.ACTING
        with self.database.write() as connection:
            moved = transitions.move(
                connection,
                run,
                until,
                now,
                command=command,
                phase=phase.id,
                ending=ending,
                **changes,
            )
            if moved:
                self.queue.enqueue(connection, phase)
        return moved

    def run(self, run: Run, phase: Phase) -> None:
        """The FINISH phase: roll back, escalate, then close as decided, or as failed.

        If an escalation reached nobody, the phase runs again without the rollback.
        """
        ending = _ending_of(run)
        with self.database.read() as connection:
            intents = ledger.intents_by_run(connection, [run.id]).get(run.id, ())
        steps = {intent.step: intent for intent in intents}
        try:
            reversible = [steps[number] for number in ending.roll_back]
            problems = self.rollback.roll_back(run, reversible)
            ending = replace(
                ending,
                roll_back=(),
                rolled_back=ending.rolled_back or bool(reversible),
                problems=[*ending.problems, *problems],
            )
            if ending.escalate:
                result = self.escalation.escalate(run, steps)
                if result.retry_after_s is not None:
                    self._run_again(run, phase, ending, result.retry_after_s)
                    return
                ending = replace(ending, unreached=result.abandoned)
        except BlockedError:
            self._run_again(run, phase, ending, _BLOCKED_RETRY_S)
            return
        except RunStoppedError:
            return
        self._close(run, ending)

    def skip_rollback(self, run: Run, phase: Phase, problem: str) -> None:
        """Skip a rollback that failed repeatedly: escalate, or close the run."""
        ending = _ending_of(run)
        ending = replace(ending, problems=[*ending.problems, problem])
        if ending.roll_back and ending.escalate:
            self._run_again(run, phase, replace(ending, roll_back=()), 0.0)
        else:
            self._close(run, ending)

    def _run_again(self, run: Run, phase: Phase, ending: Ending, delay_s: float) -> None:
        following = Phase(run_id=run.id, kind=PhaseKind.FINISH, number=phase.number + 1)
        now = self.clock()
        with self.database.write() as connection:
            if transitions.move(connection, run, run.state, now, phase=following.id, ending=ending):
                self.queue.enqueue(connection, following, delay_s=delay_s)

    def _close(self, run: Run, ending: Ending) -> None:
        state = ending.state
        outcome = [ending.outcome, *(f"{action} reached nobody" for action in ending.unreached)]
        if ending.problems:
            state = State.FAILED
            outcome += [*ending.problems, "a person is needed"]
        elif state is State.FAILED and plan_of(run).rollback and ending.rolled_back:
            state = State.ROLLED_BACK
            outcome.append("its steps were rolled back")
        self.closer.close(
            run,
            state,
            outcome="; ".join(outcome),
            refusal=ending.refusal,
            next_act_at=ending.next_act_at,
        )


def _ending_of(run: Run) -> Ending:
    if run.ending is None:
        raise LookupError(f"run {run.id} has no ending to finish")
    return run.ending


def _update_breaker(connection: Connection, ending: Transition, now: float) -> None:
    """Count the run for its playbook's circuit breaker, if it acted."""
    run, playbook = ending.run, ending.run.playbook
    if playbook is None or not run.steps_begun or not rate_limits.is_recorded(connection, run.id):
        return
    match ending.state:
        case State.SUCCEEDED:
            circuit_breakers.record_success(connection, playbook)
        case State.FAILED | State.ROLLED_BACK:
            if circuit_breakers.record_failure(connection, playbook, now):
                arming.disarm_on_failure(connection, playbook, transitions.ACTOR, now)
        case _:
            circuit_breakers.end_trial(connection, playbook, run.id)
