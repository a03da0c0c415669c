"""Stores the decision on a run, and enqueues its first phase if it acts or asks."""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from actions.reasons import Reason
from models.features.evidence import Evidence
from models.features.signals import ROLES_OF_ALERT
from models.inference.verdict import Verdict
from receiver.db.database import Database
from receiver.decision.metrics import DecisionMetrics
from receiver.decision.model import Act, Ask, Observe, Plan, Refuse
from receiver.decision.pipeline import PipelineResult
from receiver.decision.stored_plan import to_stored
from receiver.evidence.plot_data import plot_series
from receiver.runs import transitions
from receiver.runs.model import Run, State
from receiver.runs.transitions import Transition
from receiver.workflow.close_run import RunFinisher
from receiver.workflow.durable_queue import Phase, PhaseKind, PhaseQueue

_logger = structlog.get_logger()
# People see the last 15 minutes.
_SHOWN_S = 900.0


@dataclass
class DecisionWriter:
    """Writes decisions; `clock` gives epoch seconds.

    `run_phase` runs a phase on `pool` that the queue has as well: the second of the two finds that
    its run has changed, and does nothing.
    """

    database: Database
    queue: PhaseQueue
    finisher: RunFinisher
    metrics: DecisionMetrics
    pool: Executor
    clock: Callable[[], float]
    run_phase: Callable[[Phase], None]
    _started: set[Future[None]] = field(default_factory=set, init=False)

    def write(self, run: Run, result: PipelineResult) -> Transition | None:
        """Store the decision. Returns the end for the caller to record, if there is no step."""
        decision = result.decision
        changes = self._changes(run, result)
        if isinstance(decision, Act):
            self._act(run, decision.plan, changes)
            return None
        if isinstance(decision, Ask):
            self._ask(run, decision.plan, changes)
            return None
        if not run.steps_begun:
            state, ending = final_state(run, decision)
            return Transition(run, state, changes | ending)
        self.finisher.finish(run, State.FAILED, outcome=failure_text(decision), **changes)
        return None

    def wait(self) -> None:
        """Wait until the phases that `write` started have ended."""
        wait(list(self._started))

    def _changes(self, run: Run, result: PipelineResult) -> dict[str, Any]:
        decision, verdict = result.decision, result.verdict
        changes: dict[str, Any] = {
            "target": result.target.id,
            "group_name": result.target.group,
            "playbook": result.playbooks[0].name if len(result.playbooks) == 1 else None,
            "gates": decision.gates,
            "decided_at": self.clock(),
        }
        if verdict is not None:
            changes["verdict"] = verdict
            self.metrics.verdicts.labels(verdict.answer).inc()
            self.metrics.verdict_score.observe(verdict.score)
        if result.evidence is not None:
            changes["evidence"] = evidence_view(result.evidence, verdict, run.labels)
        return changes

    def _act(self, run: Run, plan: Plan, changes: dict[str, Any]) -> None:
        now = changes["decided_at"]
        phase = Phase.first(run.id, PhaseKind.ACT, now)
        changes |= {
            "plan": to_stored(plan, run.id, run.labels),
            "approval": replace(run.approval, used=True) if run.approval else None,
            "phase": phase.id,
            "next_rung": plan.rung + 1,
            "steps_begun": run.steps_begun + 1,
            "next_act_at": None,
        }
        with self.database.write() as connection:
            moved = transitions.move(connection, run, State.ACTING, now, **changes)
            if moved:
                self.queue.enqueue(connection, phase)
        _logger.info("action_decided", run=run.id, action=plan.step.action, target=plan.target)
        if moved:
            # Run the phase at once: the queue is polled at an interval that an incident cannot wait
            # for.
            started = self.pool.submit(self._run_phase, phase)
            self._started.add(started)
            started.add_done_callback(self._started.discard)

    def _run_phase(self, phase: Phase) -> None:
        try:
            self.run_phase(phase)
        except SQLAlchemyError as error:
            # The queue runs the phase again when the database is back.
            _logger.warning("phase_deferred", run=phase.run_id, error=type(error).__name__)
        except Exception:
            # Logged here, because nobody reads the future.
            _logger.exception("phase_failed", run=phase.run_id)

    def _ask(self, run: Run, plan: Plan, changes: dict[str, Any]) -> None:
        now, lasts_s = changes["decided_at"], plan.playbook.approval_s
        phase = Phase.first(run.id, PhaseKind.EXPIRE, now)
        changes |= {
            "plan": to_stored(plan, run.id, run.labels),
            "approval": None,
            "phase": phase.id,
            "next_rung": plan.rung,
            "next_act_at": now + lasts_s,
        }
        with self.database.write() as connection:
            if transitions.move(connection, run, State.AWAITING_APPROVAL, now, **changes):
                self.queue.enqueue(connection, phase, delay_s=lasts_s)
        _logger.warning(
            "approval_requested", run=run.id, action=plan.step.action, target=plan.target
        )


def failure_text(decision: Observe | Refuse) -> str:
    """The reason why a run that acted without recovery takes no further step."""
    observing = isinstance(decision, Observe)
    reason = "the mode is observe" if observing else decision.gates[-1].detail
    return (
        f"the target did not recover, and no further step is allowed: {reason}; a person is needed"
    )


def final_state(run: Run, decision: Observe | Refuse) -> tuple[State, dict[str, Any]]:
    """The final state of a run without any step, and the columns to set."""
    if isinstance(decision, Observe):
        plan = to_stored(decision.plan, run.id, run.labels)
        dry_run = run.request is not None and run.request.dry_run
        reason = "this is a dry run" if dry_run else "the mode is observe"
        return State.OBSERVED, {"plan": plan, "outcome": f"it would have acted, but {reason}"}
    if decision.reason is Reason.RESOLVED:
        return State.RESOLVED, {"outcome": decision.detail}
    return State.REFUSED, {
        "refusal": decision.reason,
        "outcome": decision.detail,
        "next_act_at": decision.retry_at,
        "caused_by": decision.caused_by,
    }


def evidence_view(
    evidence: Evidence, verdict: Verdict | None, labels: Mapping[str, str]
) -> dict[str, Any]:
    """The part of the evidence that people see: the last 15 minutes, by role.

    `sketches` are the down-sampled series for plots.
    """
    since = evidence.at - _SHOWN_S
    recent = {
        role: [
            [time, value]
            for time, value in zip(series.times, series.values, strict=True)
            if time >= since
        ]
        for role, series in (evidence.recent or {}).items()
    }
    peers = None if evidence.peers is None else sorted(evidence.peers)
    return {
        "at": evidence.at,
        "recent": recent,
        "peers": peers,
        "problems": list(evidence.problems),
        "sketches": plot_series(
            evidence, verdict, ROLES_OF_ALERT.get(labels.get("alertname", ""), ())
        ),
    }
