"""The phases of a run that may act: perform the step, look whether it helped, go on or give up.

Each is safe to repeat. A phase that is not the one its run waits for does nothing.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, assert_never

import structlog

from actions import ledger
from actions.action import Outcome
from actions.catalog import CATALOG
from actions.claims import Denial
from actions.ledger import Intent, Stage
from actions.perform import Performer, Step
from receiver import runs
from receiver.closing import Closing
from receiver.database import Database
from receiver.decide import RETRY_AFTER_S
from receiver.decision import Reason
from receiver.engine import Engine, Kind, Phase
from receiver.evidence import holds
from receiver.metrics import Metrics
from receiver.prometheus import Prometheus
from receiver.runs import Run, State

_log = structlog.get_logger()
# What was decided longer ago than this, and not begun, is decided anew: the world has moved on.
_DECISION_LASTS_S = 60.0
_ATTEMPTS = 5
_SLACK_S = 5.0
_BACKOFF_S = 2.0
_DENIED = {
    Denial.PAUSED: "a person paused it before it could act",
    Denial.TARGET_BUSY: "another run took the target first",
    Denial.COOLDOWN: "another run acted on the target first",
}


@dataclass(kw_only=True)
class Phases:
    """`wake` has the assessor look at a run that is to be decided on again."""

    database: Database
    performer: Performer
    prometheus: Prometheus
    closing: Closing
    metrics: Metrics
    interval_s: float
    clock: Callable[[], float]
    wake: Callable[[], None]
    engine: Engine | None = None
    _locks: Sequence[threading.Lock] = field(
        default_factory=lambda: [threading.Lock() for _ in range(256)], init=False
    )

    def handle(self, phase: Phase) -> None:
        """Run one phase; one that breaks is tried again later, and in the end given up."""
        # A copy of a phase waits, and then finds that its run has moved on.
        with self._locks[hash(phase.run_id) % len(self._locks)]:
            with self.database.read() as connection:
                run = runs.get(connection, phase.run_id)
            if run is not None and run.phase == phase.id:
                self._run(run, phase)

    def _run(self, run: Run, phase: Phase) -> None:
        try:
            match phase.kind:
                case Kind.ACT:
                    self._act(run, phase)
                case Kind.VERIFY:
                    self._verify(run, phase)
                case _:
                    assert_never(phase.kind)
        except Exception as error:  # noqa: BLE001 whatever broke, the run must end explained
            self._broke(run, phase, error)

    def _broke(self, run: Run, phase: Phase, error: Exception) -> None:
        name = type(error).__name__
        _log.error("phase_broke", run=run.id, phase=phase.kind, error=name, exc_info=error)
        if phase.attempt + 1 < _ATTEMPTS:
            again = replace(phase, attempt=phase.attempt + 1)
            self._go_on(run, run.state, again, delay_s=_BACKOFF_S * 2**phase.attempt)
        else:
            outcome = f"{phase.kind} broke {_ATTEMPTS} times: {name}; a person is needed"
            self.closing.close(run, State.FAILED, outcome=outcome)

    def _act(self, run: Run, phase: Phase) -> None:
        step = _step(run)
        with self.database.read() as connection:
            begun = ledger.read(connection, run.id, step.index)
        if self.clock() - (run.decided_at or 0) > _DECISION_LASTS_S:
            if begun is None:
                self._decide_again(run, run.next_rung - 1, run.steps_begun - 1)
                return
            if begun.stage is Stage.INTENT:
                self.performer.abandon(begun)
                self._decide_again(run, run.next_rung - 1, run.steps_begun)
                return
        started = self.clock()
        performed = self.performer.perform(step)
        if isinstance(performed, Denial):
            self._denied(run, performed)
            return
        self._count(run, performed, self.clock() - started)
        if performed.outcome is Outcome.FAILED:
            _log.warning("step_failed", run=run.id, action=performed.action, error=performed.error)
            self._decide_again(run, run.next_rung, run.steps_begun)
            return
        until = self.clock() + _plan(run)["verify"]["timeout_s"]
        following = Phase(run_id=run.id, kind=Kind.VERIFY, number=phase.number + 1)
        self._go_on(
            run,
            State.VERIFYING,
            following,
            delay_s=self.interval_s,
            verify_until=until,
            recovered_since=None,
        )

    def _denied(self, run: Run, denial: Denial) -> None:
        """The claim is the authority: what changed since the decision is refused after all."""
        detail = _DENIED[denial]
        gate = {"name": "claim", "passed": False, "detail": detail}
        if run.steps_begun > 1:
            outcome = f"the next step was refused: {detail}; a person is needed"
            self.closing.close(run, State.FAILED, outcome=outcome, gates=[*run.gates, gate])
            return
        self.closing.close(
            run,
            State.REFUSED,
            refusal=Reason(denial),
            outcome=detail,
            gates=[*run.gates, gate],
            next_act_at=self.clock() + RETRY_AFTER_S,
        )

    def _count(self, run: Run, done: Intent, seconds: float) -> None:
        if done.outcome is not None:
            self.metrics.actions.labels(done.action, done.outcome).inc()
        self.metrics.action_duration.labels(done.action).observe(seconds)
        if done.dispatched_at is not None and done.step == 0:
            self.metrics.alert_to_action.observe(max(0.0, done.dispatched_at - run.starts_at))

    def _verify(self, run: Run, phase: Phase) -> None:
        now, verify = self.clock(), _plan(run)["verify"]
        recovered = self._recovered(run, now)
        since = None
        if recovered:
            # What nobody watched, as while this was down, does not count.
            watched = now - run.updated_at <= 3 * self.interval_s + _SLACK_S
            since = run.recovered_since if run.recovered_since and watched else now
            if now - since >= verify["for_s"]:
                self._succeeded(run, now)
                return
        if now > (run.verify_until or 0) and not recovered:
            self._not_recovered(run)
            return
        following = Phase(run_id=run.id, kind=Kind.VERIFY, number=phase.number + 1)
        self._go_on(run, State.VERIFYING, following, delay_s=self.interval_s, recovered_since=since)

    def _recovered(self, run: Run, now: float) -> bool:
        """Whether metrics show it; no data, and no answer, is no recovery."""
        done = self._last(run)
        expressions = [_plan(run)["verify"]["expr"]]
        if done.outcome is Outcome.CHANGED and done.dispatched_at is not None:
            proof = CATALOG[done.action].proof(done.target, done.dispatched_at)
            expressions += [proof] if proof else []
        return all(holds(self.prometheus, expr, now) is True for expr in expressions)

    def _succeeded(self, run: Run, now: float) -> None:
        with self.database.write() as connection:
            ledger.verified(connection, run.id, run.steps_begun - 1, now)
        outcome = "the target recovered, as its metrics show"
        self.closing.close(run, State.SUCCEEDED, outcome=outcome)

    def _not_recovered(self, run: Run) -> None:
        done = self._last(run)
        if done.outcome is Outcome.UNKNOWN and not CATALOG[done.action].converges:
            outcome = (
                f"it is unknown whether {done.action} happened, and {done.target} did not "
                "recover; a person is needed"
            )
            self.closing.close(run, State.FAILED, outcome=outcome)
            return
        self._decide_again(run, run.next_rung, run.steps_begun)

    def _decide_again(self, run: Run, rung: int, begun: int) -> None:
        with self.database.write() as connection:
            runs.move(
                connection,
                run,
                State.DECIDING,
                self.clock(),
                phase=None,
                next_rung=rung,
                steps_begun=begun,
            )
        self.wake()

    def _last(self, run: Run) -> Intent:
        with self.database.read() as connection:
            intent = ledger.read(connection, run.id, run.steps_begun - 1)
        if intent is None:
            raise LookupError("the run has no step")
        return intent

    def _go_on(
        self,
        run: Run,
        state: State,
        phase: Phase,
        *,
        delay_s: float,
        **changes: Any,  # noqa: ANN401 columns of runs
    ) -> None:
        if self.engine is None:
            raise RuntimeError("there is no engine")
        with self.database.write() as connection:
            if runs.move(connection, run, state, self.clock(), phase=phase.id, **changes):
                self.engine.enqueue(connection, phase, delay_s=delay_s)


def _plan(run: Run) -> Mapping[str, Any]:
    if run.plan is None:
        raise LookupError("the run has no plan")
    return run.plan


def _step(run: Run) -> Step:
    plan = _plan(run)
    return Step(
        run_id=run.id,
        index=run.steps_begun - 1,
        action=CATALOG[plan["action"]],
        target=plan["target"],
        params=plan["params"],
        cooldown_s=plan["cooldown_s"],
        beside=plan["beside"],
    )
