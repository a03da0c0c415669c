"""Stores the decision on a run, which then acts, asks or ends."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import structlog

from actions.reasons import Reason
from actions.refusal import RETRY_AFTER_S
from models.features.evidence import Evidence
from models.inference.verdict import Verdict
from receiver.decision.holdout import assign, holdout_gate, recovered_at
from receiver.decision.metrics import DecisionMetrics
from receiver.decision.model import Act, Ask, Decision, Observe, Refuse
from receiver.decision.pipeline import PipelineResult
from receiver.decision.stored_plan import to_stored
from receiver.evidence.plot_data import plot_series, shorten, thin
from receiver.evidence.promql_recheck import conditions_of
from receiver.evidence.range_queries import plotted
from receiver.evidence.roles.of_alert import roles_of_alert
from receiver.runs import relapses
from receiver.runs.model import Arm, GuardResult, Run, State, StoredPlan
from receiver.runs.queries import stats
from receiver.runs.transitions import Transition
from receiver.workflow.lifecycle import Lifecycle
from receiver.workflow.step_results import has_run, wait_on_s
from receiver.workflow.steps import plan_of

_logger = structlog.get_logger()
# People see the last 15 minutes.
_SHOWN_S, _POINTS_MAX = 900.0, 60


@dataclass
class DecisionWriter:
    """Stores decisions; `clock` gives epoch seconds."""

    lifecycle: Lifecycle
    metrics: DecisionMetrics
    clock: Callable[[], float]

    def write(self, run: Run, result: PipelineResult) -> Transition | None:
        """Store the decision. If the run ends without a step, returns the end.

        The caller must record that end.
        """
        placed = replace(run, **vars(result.target.place))
        decision = self._refuse_if_not_feasible(placed, result.decision)
        if result.snapshot.relapse_of and _shows_fault(decision):
            with self.lifecycle.database.write() as connection:
                relapses.record(connection, run, result.snapshot.relapse_of, self.clock())
        changes = self._changes(run, result) | {"gates": decision.gates}
        if isinstance(decision, Act) and (assigned := assign(run, result, self.clock())):
            gate = holdout_gate(assigned)
            decision = replace(decision, gates=[*decision.gates, gate])
            changes |= {"holdout": assigned, "gates": decision.gates}
            if assigned.arm is Arm.HELD:
                later = assigned.at + assigned.wait_s
                self.lifecycle.redecide(run, run.next_rung, 0, **changes, next_act_at=later)
                return None
        if isinstance(decision, Act | Ask):
            self._store_plan(run, decision, changes)
            return None
        approved = run.approval is not None and not run.approval.used
        if approved and isinstance(decision, Refuse) and decision.reason is Reason.PAUSED:
            self._wait_for_resume(run)
            return None
        return self.end(run, decision, changes)

    def end(
        self, run: Run, decision: Observe | Refuse, changes: Mapping[str, Any] | None = None
    ) -> Transition | None:
        """End the run without a further step; one that began steps with its rollback.

        Returns the end of a run without steps, which the caller must record.
        """
        changes = {"gates": decision.gates, **(changes or {})}
        if not run.steps_begun:
            state, ending = final_state(run, decision)
            return Transition(run, state, changes | ending)
        self._end_after_steps(run, decision, changes)
        return None

    def _end_after_steps(
        self, run: Run, decision: Observe | Refuse, changes: Mapping[str, Any]
    ) -> None:
        """End a run that began steps; if AWS refused the last one for now, it may wait on.

        A run whose steps never ran ends as a run without steps, and so does one whose alert is
        over.
        """
        recorded = self.lifecycle.recorded_steps(run)
        state, ending = final_state(run, decision)
        away = isinstance(decision, Refuse) and decision.reason is Reason.STATE_UNKNOWN
        wait_s = wait_on_s(recorded, self.clock()) if away else None
        if wait_s is not None:
            later = self.clock() + wait_s
            self.lifecycle.redecide(
                run, run.next_rung, run.steps_begun, **{**changes, "next_act_at": later}
            )
        elif state is State.RESOLVED or not has_run(recorded):
            self.lifecycle.end(run, state, **{**changes, **ending})
        else:
            self.lifecycle.end(run, State.FAILED, failure_text(decision), **changes)

    def _refuse_if_not_feasible(self, run: Run, decision: Decision) -> Decision:
        """A refusal in place of a question, or of a dry run, whose step AWS would not take."""
        dry_run = run.request is not None and run.request.dry_run
        if not isinstance(decision, Ask) and not (dry_run and isinstance(decision, Observe)):
            return decision
        plan = to_stored(decision.plan, run.id, run.labels)
        refusal = self.lifecycle.step_runner.why_not_feasible(run, plan)
        if refusal is None:
            return decision
        gate = GuardResult(name="feasible", passed=False, detail=refusal.detail)
        return Refuse(
            reason=refusal.reason,
            detail=refusal.detail,
            gates=[*decision.gates, gate],
            retry_at=self.clock() + RETRY_AFTER_S,
        )

    def _changes(self, run: Run, result: PipelineResult) -> dict[str, Any]:
        decision, verdict = result.decision, result.verdict
        changes: dict[str, Any] = {
            "target": result.target.id,
            "group_name": result.target.group,
            # A target that is no longer found has no other place than before.
            **(result.target.placing if result.target.id else {}),
            "playbook": result.playbooks[0].name if len(result.playbooks) == 1 else None,
            "gates": decision.gates,
            "decided_at": self.clock(),
        }
        if run.holdout is not None and not run.steps_begun and not isinstance(decision, Act | Ask):
            # What recovered while it waited did so by itself.
            changes["recovered_since"] = recovered_at(result, changes["decided_at"])
        if verdict is not None:
            changes["verdict"] = verdict
            self.metrics.verdicts.labels(verdict.answer).inc()
            self.metrics.verdict_score.observe(verdict.score)
        if result.evidence is not None:
            shown = evidence_view(result.evidence, verdict, run.labels)
            roles = [metric["role"] for metric in shown["sketches"]]
            changes["evidence"] = {**shown, "query": plotted(result.target, roles)}
        elif verdict is not None and len(result.playbooks) == 1:
            changes["evidence"] = rechecked_view(self.clock(), result)
        return changes

    def _store_plan(self, run: Run, decision: Act | Ask, changes: dict[str, Any]) -> None:
        plan, acts = decision.plan, isinstance(decision, Act)
        lasts_s = plan.playbook.approval_s
        stored = to_stored(plan, run.id, run.labels)
        changes |= {
            "plan": stored if acts else self._with_times(stored),
            "approval": replace(run.approval, used=True) if acts and run.approval else None,
            "next_rung": plan.rung + acts,
            "steps_begun": run.steps_begun + acts,
            "next_act_at": None if acts else changes["decided_at"] + lasts_s,
        }
        write = _logger.info if acts else _logger.warning
        event = "action_decided" if acts else "approval_requested"
        write(event, run=run.id, action=plan.step.action, target=plan.target)
        if acts:
            self.lifecycle.begin(run, changes)
        else:
            self.lifecycle.ask(run, lasts_s, changes | {"approvals": []})

    def _with_times(self, plan: StoredPlan) -> StoredPlan:
        """The plan, with how long its step took before, which a person is told."""
        with self.lifecycle.database.ask() as connection:
            times = stats.recovery_times(connection, plan.playbook, plan.action)
        if not times:
            return plan
        took = replace(plan.consequences, took_s=median(times), times=len(times))
        return replace(plan, consequences=took)

    def _wait_for_resume(self, run: Run) -> None:
        """Keep the approved plan waiting, because the service was paused after the approval."""
        now, plan = self.clock(), plan_of(run)
        until = (run.approval.at if run.approval else now) + plan.approval_s
        self.lifecycle.ask(run, max(0.0, until - now), {"approval": None, "next_act_at": until})


def _shows_fault(decision: Decision) -> bool:
    """Whether the alert passed all guards before its step was chosen."""
    return not isinstance(decision, Refuse) or decision.reason is Reason.NO_STEP


def failure_text(decision: Observe | Refuse) -> str:
    """The reason why a run that acted without recovery takes no further step."""
    observing = isinstance(decision, Observe)
    reason = "the mode is observe" if observing else decision.gates[-1].detail
    return (
        f"the target did not recover, and no further step is allowed: {reason}; a person is needed"
    )


def final_state(run: Run, decision: Observe | Refuse) -> tuple[State, dict[str, Any]]:
    """The final state of a run without any step that ran, and the columns to set."""
    if isinstance(decision, Observe):
        plan = to_stored(decision.plan, run.id, run.labels)
        dry_run = run.request is not None and run.request.dry_run
        reason = "this is a dry run" if dry_run else "the mode is observe"
        return State.OBSERVED, {"plan": plan, "outcome": f"the run would have acted, but {reason}"}
    if decision.reason is Reason.RESOLVED:
        return State.RESOLVED, {"outcome": decision.detail}
    return State.REFUSED, {
        "refusal": decision.reason,
        "outcome": decision.detail,
        "next_act_at": decision.retry_at,
        "caused_by": decision.caused_by,
    }


def rechecked_view(at: float, result: PipelineResult) -> dict[str, Any]:
    """As `evidence_view`, where the playbook's own conditions gave the verdict: to plot them."""
    conditions = conditions_of(result.playbooks[0], result.target)
    empty: dict[str, Any] = {"recent": {}, "peers": None, "problems": [], "sketches": []}
    return {"at": at, **empty, "conditions": conditions}


def evidence_view(
    evidence: Evidence, verdict: Verdict | None, labels: Mapping[str, str]
) -> dict[str, Any]:
    """The part of the evidence that people see: the last 15 minutes, by role.

    `recent` has at most 60 points of a series; `sketches` are the series for plots.
    """
    since = evidence.at - _SHOWN_S
    recent = {
        role: [[time, shorten(value)] for time, value in thin(series, since, _POINTS_MAX)]
        for role, series in (evidence.recent or {}).items()
    }
    peers = None if evidence.peers is None else sorted(evidence.peers)
    return {
        "at": evidence.at,
        "recent": recent,
        "peers": peers,
        "problems": list(evidence.problems),
        "sketches": plot_series(evidence, verdict, roles_of_alert(labels)),
    }
