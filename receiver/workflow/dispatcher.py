"""Takes alerts out of the inbox and starts the decision on each.

A decision changes nothing, so it is simply made again after a crash.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, field

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from structlog.contextvars import bound_contextvars

from actions.reasons import Reason
from actions.refusal import RETRY_AFTER_S
from receiver.db.database import Database
from receiver.decision.metrics import DecisionMetrics
from receiver.decision.model import Refuse
from receiver.decision.pipeline import DecisionPipeline, GroupDecision
from receiver.runs import intake
from receiver.runs.model import GuardResult, Run
from receiver.runs.queries import pending
from receiver.runs.queries.pending import LeftOut
from receiver.runs.target_finder import TargetFinder
from receiver.runs.transitions import Transition
from receiver.webhook.inbox import Inbox
from receiver.workflow.decision_writer import DecisionWriter
from receiver.workflow.endings.close_run import RunCloser
from receiver.workflow.phases import PhaseRunner

_logger = structlog.get_logger()
# The number of lanes decided at once, and of runs that end in one transaction.
_LANES = 16
_LANE_BATCH = 64
# A task ends when its snapshot is this old; the next task takes the remaining and newer runs.
_SNAPSHOT_LASTS_S = 10.0
_INBOX_BATCH = 200
# Where there are several accounts, so many are read, of which a few are taken fairly: an alert of
# another account waits for that few.
_READ_AHEAD, _FAIR_BATCH = 1000, 50
# Seconds between two polls: an alert that another receiver stored waits up to this long. A run that
# another receiver stored, by a person's order, waits for two.
_IDLE_S = 0.5
_TRIES = 3
_RECOVER_EVERY_S = 60.0


@dataclass
class _Failures:
    """Runs whose decision failed. Threads share the object, so each access takes the lock."""

    monotonic: Callable[[], float]
    # By run, the number of its failed decisions and the end of its rest.
    _rests: dict[str, tuple[int, float]] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def add(self, run_id: str) -> int:
        """Let the run rest, twice as long each time. Returns the number of its failed decisions."""
        with self._lock:
            tries = self._rests.get(run_id, (0, 0.0))[0] + 1
            self._rests[run_id] = (tries, self.monotonic() + 2.0**tries)
        return tries

    def forget(self, run_id: str) -> None:
        with self._lock:
            self._rests.pop(run_id, None)

    def has(self, run_id: str) -> bool:
        with self._lock:
            return run_id in self._rests

    def resting(self) -> Sequence[str]:
        with self._lock:
            now = self.monotonic()
            return [run_id for run_id, (_, until) in self._rests.items() if until > now]


def lanes_of_account(workers: int, accounts: int) -> int | None:
    """The most lanes of one account: a quarter of the `workers`, where there are several.

    Two lanes keep the interpreter busy; with more, each answer to another account's query waits for
    all of them.
    """
    return None if accounts <= 1 else max(1, workers // 4)


@dataclass
class Dispatcher:
    """Dispatches runs; `pool` runs the decisions, `clock` gives epoch seconds.

    No account has more than `lanes_of_account` at once; None is any number. One thread calls
    `dispatch`.
    """

    database: Database
    inbox: Inbox
    pipeline: DecisionPipeline
    closer: RunCloser
    writer: DecisionWriter
    phases: PhaseRunner
    metrics: DecisionMetrics
    targets: TargetFinder
    pool: Executor
    clock: Callable[[], float]
    monotonic: Callable[[], float] = time.monotonic
    lanes_of_account: int | None = None
    # Running tasks by lane; used only by the thread that calls `dispatch`.
    _busy: dict[str, Future[None]] = field(default_factory=dict, init=False)
    _failures: _Failures = field(init=False)
    _wake: threading.Event = field(default_factory=threading.Event, init=False)
    _stopping: bool = field(default=False, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _recover_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._failures = _Failures(self.monotonic)

    def start(self) -> None:
        self._stopping = False
        self._recover_at = 0.0
        self._thread = threading.Thread(target=self._loop, name="dispatcher", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the running decisions; all others wait on disk."""
        self._stopping = True
        self.wake()
        if self._thread is not None:
            self._thread.join()

    def wake(self) -> None:
        self._wake.set()

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _loop(self) -> None:
        rested = False
        while not self._stopping:
            rested = not self._wake.wait(_IDLE_S) and not rested
            self._wake.clear()
            try:
                self.inbox.yield_to_deliveries()
                alone = self.lanes_of_account is None
                most = _INBOX_BATCH if alone else _FAIR_BATCH
                waiting = self.inbox.queued(most if alone else _READ_AHEAD)
                queued = intake.take_fairly(waiting, most)
                if queued:
                    with self.database.write() as connection:
                        intake.insert_from_inbox(connection, queued, self.clock())
                if queued or not rested:
                    self.dispatch()
                # An alert that a crash leaves there has the id of its run: it gets no second one.
                if queued:
                    self.inbox.remove([alert.id for alert in queued])
                if len(queued) == most:
                    self.wake()
                if time.monotonic() >= self._recover_at:
                    self._recover_at = time.monotonic() + _RECOVER_EVERY_S
                    self.recover()
            except Exception:
                # After any error, the next alert must still be decided.
                _logger.exception("dispatch_failed")
                time.sleep(_IDLE_S)
        wait(self._busy.values())

    def recover(self) -> None:
        """Recover what a crash interrupted."""
        self.phases.recover_lost()
        self.closer.report_ends()

    def dispatch(self) -> None:
        """Start decisions on pending runs in free lanes.

        A lane decides one alert at a time: once one run acts, most others are refused before they
        need evidence.
        """
        self._busy = {lane: task for lane, task in self._busy.items() if not task.done()}
        while len(self._busy) < _LANES:
            with self.database.read() as connection:
                batch = pending.first_lane(connection, self._left_out(), self.clock(), _LANE_BATCH)
            if not batch:
                return
            task = self.pool.submit(self._decide_lane, batch)
            self._busy[batch[0].lane] = task
            task.add_done_callback(lambda _: self.wake())

    def _left_out(self) -> LeftOut:
        """Also an account that has all the lanes that it may have: others may need the next."""
        of_account = Counter(filter(None, map(intake.account_of, self._busy)))
        most = self.lanes_of_account or _LANES
        crowded = [account for account, lanes in of_account.items() if lanes >= most]
        return LeftOut(lanes=self._busy, accounts=crowded, runs=self._failures.resting())

    def decide_sync(self, run: Run) -> None:
        """Decide on one run while the caller waits; a failed decision is tried again later."""
        self._decide_all([run], self.pipeline.begin())

    def _decide_lane(self, batch: Sequence[Run]) -> None:
        """Decide on a lane's runs, one batch after the other, while one snapshot serves them."""
        together = self.pipeline.begin()
        while batch and not self._stopping and together.age_s <= _SNAPSHOT_LASTS_S:
            if not self._decide_all(batch, together):
                return
            with self.database.ask() as connection:
                batch = pending.in_lane(
                    connection,
                    batch[0].lane,
                    resting=self._failures.resting(),
                    now=self.clock(),
                    limit=_LANE_BATCH,
                )

    def _decide_all(self, batch: Sequence[Run], together: GroupDecision) -> bool:
        """Decide on each run; the runs without a step end in one transaction.

        Returns False if the database failed.
        """
        together.take(batch)
        self.targets.find_waiting(batch, self.clock())
        endings = list[Transition]()
        for run in batch:
            if self._stopping or together.age_s > _SNAPSHOT_LASTS_S:
                break
            self.inbox.yield_to_deliveries()
            # A run whose decision failed is decided alone: another one may be the cause.
            group = self.pipeline.begin([run]) if self._failures.has(run.id) else together
            with bound_contextvars(run=run.id):
                ending = self._decide(run, group)
            if ending is not None:
                endings.append(ending)
        try:
            self._close_all(endings)
        except SQLAlchemyError:
            _logger.exception("runs_close_failed", runs=len(endings))
            # The lane waits before it tries again.
            time.sleep(_IDLE_S)
            return False
        return True

    def _close_all(self, endings: Sequence[Transition]) -> None:
        """End the runs. One whose end cannot be stored holds up no other; it is decided again."""
        try:
            self.closer.close_all(endings)
        except (OperationalError, InterfaceError):
            # The database itself fails.
            raise
        except SQLAlchemyError as error:
            if len(endings) > 1:
                for ending in endings:
                    self._close_all([ending])
                return
            (ending,) = endings
            _logger.exception("run_close_failed", run=ending.run.id)
            failed = self._record_failure(ending.run, error)
            if failed is not None:
                self.closer.close_all([failed])
        else:
            for ending in endings:
                self._failures.forget(ending.run.id)

    def _decide(self, run: Run, group: GroupDecision) -> Transition | None:
        """Decide. Returns the run's end if it takes no step; None if it goes on."""
        try:
            started = time.perf_counter()
            result = group.decide(run)
            ending = self.writer.write(run, result)
            self.metrics.duration.observe(time.perf_counter() - started)
            if ending is None:
                self._failures.forget(run.id)
        except Exception as error:
            # A decision that raises must not stop the others.
            _logger.exception("decision_failed", run=run.id, error=repr(error))
            return self._record_failure(run, error)
        return ending

    def _record_failure(self, run: Run, error: Exception) -> Transition | None:
        """Delay the run's next try, twice as long each time. The last failure ends the run.

        Returns its end, as `DecisionWriter.write`.

        ## internal_error

        The decision failed three times. This is a bug.
        **Do:** handle the alert by hand, then follow
        [RemediatorDecisionsBreak](runbooks.md#remediatordecisionsbreak).
        """
        if self._failures.add(run.id) < _TRIES:
            return None
        self._failures.forget(run.id)
        detail = f"the decision failed {_TRIES} times: {type(error).__name__}"
        gates = [GuardResult(name="assessment", passed=False, detail=detail)]
        again = self.clock() + RETRY_AFTER_S
        reason = Reason.INTERNAL_ERROR
        refusal = Refuse(reason=reason, detail=detail, gates=gates, retry_at=again)
        return self.writer.end(run, refusal)
