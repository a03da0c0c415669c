"""The steps of a run's plan, and the runner that performs and counts them."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor as ThreadPool
from concurrent.futures import Future, wait
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import structlog

from actions.aws.errors import AWS_ERRORS
from actions.aws.target_errors import NotActionableError
from actions.base import Impact, Outcome, TargetKind
from actions.catalog.registry import find_action
from actions.catalog.ssm.capture import WAIT_MAX_S, is_waited_for
from actions.execution.executor import Executor
from actions.execution.ledger import Intent, Stage
from actions.execution.step import Step
from actions.refusal import Refusal
from actions.step_key import StepKey, StepKind
from receiver.runs.model import Run, StoredPlan
from receiver.workflow.metrics import StepMetrics

_log = structlog.get_logger()
_FIRST = StepKey(StepKind.LADDER, 0)
# Between two looks at a capture for which a step waits.
_CAPTURE_S = 1.0


_Captured: TypeAlias = Future[Intent | Refusal]


class RunStoppedError(Exception):
    """A person ended the run during its rollback."""


@dataclass(frozen=True, kw_only=True)
class StepRunner:
    """Performs and counts steps; captures run in `pool`."""

    executor: Executor
    metrics: StepMetrics
    pool: ThreadPool

    def run_step(self, run: Run, step: Step) -> Intent | Refusal:
        """Execute the step with `Executor.execute`; count it unless it was settled before."""
        began, started = self.executor.clock(), time.perf_counter()
        result = self.executor.execute(step)
        if isinstance(result, Intent) and result.ended_at is not None and result.ended_at >= began:
            self._count(run, result, time.perf_counter() - started)
        return result

    def why_not_feasible(self, run: Run, plan: StoredPlan) -> Refusal | None:
        """Why a step of the plan that the run would take cannot be carried out, or None.

        What a step does after another one that prepares it can only be told then.
        """
        planned = replace(run, plan=plan, steps_begun=run.steps_begun + 1)
        before = [*before_steps(planned)]
        prepared = any(step.action.impact is not Impact.HARMLESS for step in before)
        steps = before if prepared else [*before, step_of(planned)]
        refusals = map(self.executor.why_not_feasible, steps)
        return next((refusal for refusal in refusals if refusal is not None), None)

    def run_before_steps(
        self, run: Run, recorded: Mapping[StepKey, Intent]
    ) -> tuple[Intent | Refusal | None, Sequence[_Captured]]:
        """The refusal, failure or unknown outcome that stops the run's next step; else None.

        And the capture that was begun: it runs beside the others, and stops nothing.
        """
        capture, captured = capture_step(run), list[_Captured]()
        if capture is not None and capture.key not in recorded:
            captured = [self.pool.submit(self._capture, run, capture)]
        stopped = self._run_claiming(run)
        if stopped is None and capture is not None and capture.params.get("wait_s"):
            wait(captured, WAIT_MAX_S)
        return stopped, captured

    def capture_beside(self, run: Run, captured: Sequence[_Captured]) -> None:
        """Keep, beside the run, what AWS shows right after the step's call.

        Its reads would delay a step that does not wait for them.
        """
        for begun in captured:
            self.pool.submit(self._keep_going, run, begun)

    def capture_s(self, run: Run, read: Callable[[Run], Mapping[StepKey, Intent]]) -> float | None:
        """Seconds to wait for the rest of the capture; None: the step may be taken.

        `read` reads the run's steps in the ledger.
        """
        capture = capture_step(run)
        if capture is None or not capture.params.get("wait_s"):
            return None
        recorded = read(run)
        waits = is_waited_for(self.complete_capture(run, recorded))
        intent = recorded.get(capture.key)
        until = intent.started_at + capture.params["wait_s"] if intent else 0.0
        return _CAPTURE_S if waits and self.executor.clock() < until else None

    def complete_capture(self, run: Run, recorded: Mapping[StepKey, Intent]) -> Mapping[str, Any]:
        """Keep the next part of the capture of the run's step, once it has come.

        Returns what the capture made so far.
        """
        capture = capture_step(run)
        intent = recorded.get(capture.key) if capture else None
        if capture is None or intent is None:
            return {}
        if intent.stage is Stage.SETTLED and is_waited_for(intent.made):
            try:
                return self.executor.advance(capture, intent).made
            except (*AWS_ERRORS, NotActionableError) as error:
                _log.warning("capture_incomplete", run=run.id, error=type(error).__name__)
        return intent.made

    def _capture(self, run: Run, step: Step) -> Intent | Refusal:
        try:
            intent = self.executor.execute(step)
            if isinstance(intent, Intent) and step.params.get("wait_s"):
                return self.executor.advance(step, intent)
        except Exception:
            # It must not stop the step that it belongs to.
            _log.exception("capture_failed", run=run.id)
            raise
        return intent

    def _keep_going(self, run: Run, begun: _Captured) -> None:
        intent = begun.result()
        if isinstance(intent, Intent):
            self.complete_capture(run, {intent.step: intent})

    def _run_claiming(self, run: Run) -> Intent | Refusal | None:
        for step in before_steps(run):
            result = self.run_step(run, step)
            if isinstance(result, Refusal):
                return result
            harmless = step.action.impact is Impact.HARMLESS
            if not harmless and result.outcome not in {Outcome.CHANGED, Outcome.NOOP}:
                return result
        return None

    def settle_unfinished(self, run: Run, recorded: Mapping[StepKey, Intent]) -> bool:
        """Settle the `recorded` steps that the run abandons. Returns whether there were any."""
        current = step_of(run)
        abandoned = [
            intent
            for key, intent in recorded.items()
            if key == current.key.capture() or (key.acts and key.order[0] == current.key.index)
        ]
        for intent in abandoned:
            step = replace(
                current,
                key=intent.step,
                action=find_action(intent.action),
                target=intent.target,
                params=intent.params,
            )
            self.executor.settle_unfinished(step, intent)
        return bool(abandoned)

    def _count(self, run: Run, intent: Intent, seconds: float) -> None:
        if intent.outcome is not None:
            self.metrics.outcomes.labels(intent.action, intent.outcome).inc()
        self.metrics.duration.labels(intent.action).observe(seconds)
        if intent.dispatched_at is not None and intent.step == _FIRST:
            self.metrics.alert_to_action.observe(max(0.0, intent.dispatched_at - run.starts_at))


def plan_of(run: Run) -> StoredPlan:
    """The run's plan. Raises LookupError if it has none."""
    if run.plan is None:
        raise LookupError(f"run {run.id} has no plan")
    return run.plan


def step_of(run: Run) -> Step:
    """The run's current step of the ladder."""
    plan = plan_of(run)
    return Step(
        run_id=run.id,
        key=StepKey(StepKind.LADDER, run.steps_begun - 1),
        action=find_action(plan.action),
        place=run.place,
        target=plan.target,
        params=plan.params,
        playbook=plan.playbook,
        group=plan.group,
        cooldown_s=plan.cooldown_s,
        rates=plan.rates,
        bounds=plan.bounds,
        must_be_free=plan.must_be_free,
    )


def recorded_step(run: Run, intent: Intent) -> Step:
    """The recorded step of the run."""
    return replace(
        step_of(run),
        key=intent.step,
        action=find_action(intent.action),
        target=intent.target,
        params=intent.params,
        must_be_free=(),
    )


def capture_step(run: Run) -> Step | None:
    """The capture before the run's current step."""
    step = step_of(run)
    captures = [
        (find_action(stored.action), stored.params)
        for stored in plan_of(run).before
        if not find_action(stored.action).claims
    ]
    if not captures:
        return None
    action, params = captures[0]
    return replace(step, key=step.key.capture(), action=action, params=params, counts=False)


def before_steps(run: Run) -> Iterator[Step]:
    """The steps to perform before the run's current step, but its capture."""
    plan, step = plan_of(run), step_of(run)
    for position, stored in enumerate(plan.before):
        action = find_action(stored.action)
        if not action.claims:
            continue
        of_group = action.target is TargetKind.GROUP
        if of_group and not plan.group:
            # An instance of no group, which nothing there could replace.
            continue
        yield replace(
            step,
            key=step.key.before(position),
            action=action,
            target=plan.group if of_group else plan.target,
            params=stored.params,
            cooldown_s=0.0,
            must_be_free=(),
            counts=False,
        )
