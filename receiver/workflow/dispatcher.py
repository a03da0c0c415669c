"""Takes alerts out of the inbox and decides on each: evidence, verdict, playbook, decision.

Reading is safe to repeat, so a run whose decision a crash cut off is simply decided anew.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, wait
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from structlog.contextvars import bound_contextvars

from actions.reasons import Reason
from receiver.db.database import Database
from receiver.decision.decide import RETRY_AFTER_S
from receiver.decision.metrics import DecisionMetrics
from receiver.decision.model import Act, Ask, Plan
from receiver.decision.pipeline import DecisionPipeline, PipelineResult
from receiver.decision.stored_plan import to_stored
from receiver.runs import store
from receiver.runs.model import Run, State
from receiver.runs.store import Move
from receiver.webhook.episodes import Episode, Over
from receiver.webhook.inbox import Inbox
from receiver.workflow.closing import Closing
from receiver.workflow.durable_queue import Enqueues, Kind, Phase
from receiver.workflow.outcomes import ending_of, given_up, shown
from receiver.workflow.rollback import Finish

_log = structlog.get_logger()
# Groups that are decided on at the same time, and alerts of one that are taken up together.
_LANES = 16
_HANDFUL = 64
_TAKEN_AT_ONCE = 200
# So long a caller waits, in a storm, for what was acknowledged to be listed.
_TAKING_S = 2.0
# Also how late an alert may be noticed that another receiver took.
_IDLE_S = 0.5
_TRIES = 3
_RECONCILE_EVERY_S = 60.0
# Longer than any phase takes or is delayed: its workflow ended without moving the run on.
_LOST_AFTER_S = 180.0
_CARRIED = (State.ACTING, State.VERIFYING, State.ROLLING_BACK, State.AWAITING_APPROVAL)


@dataclass
class Assessor:
    """`pool` runs the assessments; `clock` gives epoch seconds.

    `carry_out` runs a phase that the engine has: whoever comes to it first does it, and the other
    finds that its run has moved on.
    """

    database: Database
    inbox: Inbox
    pipeline: DecisionPipeline
    engine: Enqueues
    closing: Closing
    finish: Finish
    metrics: DecisionMetrics
    pool: Executor
    clock: Callable[[], float]
    carry_out: Callable[[Phase], None]
    _begun: set[Future[None]] = field(default_factory=set, init=False)
    _busy: dict[str, Future[None]] = field(default_factory=dict, init=False)
    _tries: dict[str, int] = field(default_factory=dict, init=False)
    # Runs that broke, and until when they are left alone (monotonic seconds).
    _resting: dict[str, float] = field(default_factory=dict, init=False)
    _wake: threading.Event = field(default_factory=threading.Event, init=False)
    _stopping: bool = field(default=False, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _intake: threading.Lock = field(default_factory=threading.Lock, init=False)
    _reconcile_at: float = field(default=0.0, init=False)

    def start(self) -> None:
        self._stopping = False
        self._reconcile_at = 0.0
        self._thread = threading.Thread(target=self._loop, name="assessor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the assessments that run; the rest waits on disk."""
        self._stopping = True
        self.wake()
        if self._thread is not None:
            self._thread.join()

    def wake(self) -> None:
        self._wake.set()

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def take_in(self) -> None:
        """Make runs of what waits in the inbox, so that whoever was acknowledged is listed."""
        until, more = time.monotonic() + _TAKING_S, True
        while more and time.monotonic() < until:
            with self._taking() as taken:
                more = len(taken) == _TAKEN_AT_ONCE

    @contextmanager
    def _taking(self) -> Iterator[Sequence[str]]:
        """Make runs of the most severe that wait; they leave the inbox at the end.

        What is left there by a crash is known by its id, and made a run only once.
        """
        with self._intake:
            waiting = self.inbox.waiting(_TAKEN_AT_ONCE)
            taken = [one.id for one in waiting]
            if taken:
                with self.database.write() as connection:
                    store.take_in(connection, waiting, self.clock())
            yield taken
            if taken:
                self.inbox.taken(taken)

    def _loop(self) -> None:
        while not self._stopping:
            self._wake.wait(_IDLE_S)
            self._wake.clear()
            try:
                self.inbox.let_pass()
                with self._taking() as taken:
                    self.hand_out()
                if len(taken) == _TAKEN_AT_ONCE:
                    self.wake()
                if time.monotonic() >= self._reconcile_at:
                    self._reconcile_at = time.monotonic() + _RECONCILE_EVERY_S
                    self.reconcile()
            except Exception as error:  # noqa: BLE001 whatever it was, the next alert must be looked at
                _log.error("assessor_waits", error=type(error).__name__, exc_info=error)
                time.sleep(_IDLE_S)
        wait(self._busy.values())
        wait(list(self._begun))

    def hand_out(self) -> None:
        """Have what waits decided on, as far as there is room.

        One alert of a group at a time: what the first one claims spares its siblings theirs.
        """
        now = time.monotonic()
        self._busy = {lane: done for lane, done in self._busy.items() if not done.done()}
        self._resting = {run_id: until for run_id, until in self._resting.items() if until > now}
        while len(self._busy) < _LANES:
            with self.database.read() as connection:
                handful = store.pending(
                    connection,
                    busy=self._busy,
                    resting=self._resting,
                    now=self.clock(),
                    limit=_HANDFUL,
                )
            if not handful:
                return
            lane = handful[0].lane
            done = self.pool.submit(self._assess_all, handful)
            self._busy[lane] = done
            done.add_done_callback(lambda _: self.wake())

    def _assess_all(self, handful: Sequence[Run]) -> None:
        """Decide on each; those on which nothing is done end together."""
        endings = [self._bound(run) for run in handful if not self._stopping]
        try:
            self.closing.close_all([ending for ending in endings if ending is not None])
        except SQLAlchemyError as error:
            _log.error("endings_wait", error=type(error).__name__)
            rested = time.monotonic() + _IDLE_S
            self._resting |= {ending.run.id: rested for ending in endings if ending is not None}

    def decide_now(self, run: Run) -> None:
        """Decide on one run for a caller who waits; where that breaks, it is tried again later."""
        self._assess_all([run])

    def reconcile(self) -> None:
        """Tell the inbox of ends that a crash kept from it, and carry on phases that got lost."""
        now = self.clock()
        with self.database.write() as connection:
            for run in store.in_states(connection, _CARRIED):
                self._carry_on(connection, run, now)
        self._end_episodes(now)

    def _end_episodes(self, now: float) -> None:
        """Ends that a crash kept from the inbox, and episodes whose runs are nowhere any more."""
        open_ones = self.inbox.unended()
        # In this order: what leaves the inbox meanwhile is among the runs.
        waiting = self.inbox.waiting_among(open_ones)
        with self.database.read() as connection:
            known = store.among(connection, open_ones)
        for run_id in open_ones:
            run = known.get(run_id)
            if run is None and run_id not in waiting:
                self.inbox.end(Over(run_id, now, None))
            elif run is not None and run.state.ended:
                self.inbox.end(Over(run_id, run.ended_at or now, run.next_act_at))

    def _carry_on(self, connection: Connection, run: Run, now: float) -> None:
        """Enqueue the run's phase, which is left alone if the engine has it; anew if it is lost."""
        if run.phase is None:
            return
        phase = Phase.parse(run.phase)
        due = run.updated_at
        if run.state is State.AWAITING_APPROVAL:
            due = run.next_act_at or due
        if now - due > _LOST_AFTER_S:
            phase = Phase.first(run.id, phase.kind, now)
            store.move(connection, run, run.state, now, phase=phase.id)
            _log.warning("phase_lost", run=run.id, phase=phase.kind)
        self.engine.enqueue(connection, phase, delay_s=max(0.0, due - now))

    def _bound(self, run: Run) -> Move | None:
        self.inbox.let_pass()
        with bound_contextvars(run=run.id):
            return self._assess(run)

    def _assess(self, run: Run) -> Move | None:
        """The run's end where nothing (more) is done; None where it acts, or is tried again."""
        try:
            started = time.perf_counter()
            episode = partial(self._episode, run.id)
            assessed = self.pipeline.decide(run, episode, self.clock(), self.metrics)
            ending = self._concluded(run, assessed)
            self.metrics.duration.observe(time.perf_counter() - started)
            self._tries.pop(run.id, None)
        except Exception as error:  # noqa: BLE001 one alert that breaks us must not stop the others
            return self._broke(run, error)
        return ending

    def _episode(self, run_id: str) -> Episode | None:
        return self.inbox.of_runs([run_id]).get(run_id)

    def _broke(self, run: Run, error: Exception) -> Move | None:
        tries = self._tries.get(run.id, 0) + 1
        self._tries[run.id] = tries
        self._resting[run.id] = time.monotonic() + 2.0**tries
        _log.error("assessment_broke", run=run.id, tries=tries, error=repr(error), exc_info=error)
        if tries < _TRIES:
            return None
        del self._tries[run.id]
        gates = [{"name": "assessment", "passed": False, "detail": type(error).__name__}]
        changes = {
            "refusal": Reason.INTERNAL_ERROR,
            "outcome": f"deciding broke {_TRIES} times: {type(error).__name__}",
            "gates": gates,
            "next_act_at": self.clock() + RETRY_AFTER_S,
        }
        return Move(run, State.REFUSED, changes)

    def _concluded(self, run: Run, assessed: PipelineResult) -> Move | None:
        now, decision, verdict = self.clock(), assessed.decision, assessed.verdict
        changes: dict[str, Any] = {
            "target": assessed.target.id,
            "group_name": assessed.target.group,
            "playbook": assessed.playbooks[0].name if len(assessed.playbooks) == 1 else None,
            "gates": [asdict(gate) for gate in decision.gates],
            "decided_at": now,
        }
        if verdict is not None:
            changes["verdict"] = asdict(verdict)
        if verdict is not None and not assessed.reused:
            self.metrics.verdicts.labels(verdict.answer).inc()
            self.metrics.verdict_score.observe(verdict.score)
        if assessed.evidence is not None:
            changes["evidence"] = shown(assessed.evidence, verdict, run.labels)
        if isinstance(decision, Act):
            self._act(run, decision.plan, now, changes)
            return None
        if isinstance(decision, Ask):
            self._ask(run, decision.plan, now, changes)
            return None
        if not run.steps_begun:
            state, said = ending_of(run, decision)
            return Move(run, state, changes | said)
        self.finish.end(run, State.FAILED, **changes, outcome=given_up(decision))
        return None

    def _act(self, run: Run, plan: Plan, now: float, changes: dict[str, Any]) -> None:
        phase = Phase.first(run.id, Kind.ACT, now)
        changes |= {
            "plan": to_stored(plan, run.id, run.labels) | {"approval": run.approval},
            "approval": None,
            "phase": phase.id,
            "next_rung": plan.rung + 1,
            "steps_begun": run.steps_begun + 1,
            "next_act_at": None,
        }
        with self.database.write() as connection:
            moved = store.move(connection, run, State.ACTING, now, **changes)
            if moved:
                self.engine.enqueue(connection, phase)
        _log.info("decided_to_act", run=run.id, action=plan.step.action, target=plan.target)
        if moved:
            # The engine looks every now and then; an incident does not wait for it.
            done = self.pool.submit(self._carry_out, phase)
            self._begun.add(done)
            done.add_done_callback(self._begun.discard)

    def _carry_out(self, phase: Phase) -> None:
        try:
            self.carry_out(phase)
        except SQLAlchemyError as error:
            # The engine has it as well, and waits for the records.
            _log.warning("phase_left_to_the_engine", run=phase.run_id, error=type(error).__name__)
        except Exception as error:  # noqa: BLE001 nobody asks the future that it would vanish in
            _log.error("phase_broke", run=phase.run_id, error=type(error).__name__, exc_info=error)

    def _ask(self, run: Run, plan: Plan, now: float, changes: dict[str, Any]) -> None:
        phase, lasts = Phase.first(run.id, Kind.EXPIRE, now), plan.playbook.approval_s
        changes |= {
            "plan": to_stored(plan, run.id, run.labels),
            "phase": phase.id,
            "next_rung": plan.rung,
            "next_act_at": now + lasts,
        }
        with self.database.write() as connection:
            if store.move(connection, run, State.AWAITING_APPROVAL, now, **changes):
                self.engine.enqueue(connection, phase, delay_s=lasts)
        _log.warning("approval_needed", run=run.id, action=plan.step.action, target=plan.target)
