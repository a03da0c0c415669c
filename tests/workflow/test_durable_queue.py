"""The durable queue begins a phase at once, and starts again after a crash, or a failed start."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from dbos import DBOSClient
from sqlalchemy.exc import OperationalError

from receiver.db.database import Database, database
from receiver.workflow.durable_queue import DurableQueue, Phase, PhaseKind
from receiver.workflow.queue_polling import QueuePolling
from tests.conftest import Clock

_ACT = Phase(run_id="run", kind=PhaseKind.ACT, number=1)


def state_at(url: str) -> Database:
    """As in the service, the file is in WAL mode before DBOS opens it: no change of mode waits."""
    state = database(url)
    with state.read():
        return state


@contextmanager
def started(queue: DurableQueue) -> Iterator[None]:
    queue.start()
    try:
        yield
    finally:
        queue.stop()


def test_a_phase_begins_at_the_callers_word_and_once(tmp_path: Path) -> None:
    """It waits for no poll, and no poll takes it before its transaction's end is known."""
    url, handled = f"sqlite:///{tmp_path}/state.db", threading.Semaphore(0)
    queue, state = DurableQueue(url, 1, lambda _: handled.release()), state_at(url)
    queue.connect()
    with started(queue):
        with state.write() as connection:
            queue.enqueue(connection, replace(_ACT, number=0))
        # From now on the queue is polled four times a second.
        assert handled.acquire(timeout=20)
        with state.write() as connection:
            begin = queue.begin(connection, _ACT)
        assert not handled.acquire(timeout=1)
        begin()
        assert handled.acquire(timeout=20)
        assert not handled.acquire(timeout=1)
    queue.disconnect()


def test_a_crash_before_the_phase_began_has_the_next_start_run_it(tmp_path: Path) -> None:
    """On disk with the decision, so that nothing else has to enqueue it again."""
    url, handled = f"sqlite:///{tmp_path}/state.db", threading.Event()
    queue, state = DurableQueue(url, 1, lambda _: handled.set()), state_at(url)
    with started(queue), state.write() as connection:
        queue.begin(connection, _ACT)
    assert not handled.is_set()
    with started(queue):
        assert handled.wait(20)


def test_a_stop_while_the_database_is_away_leaves_the_phase_to_the_next_start(
    tmp_path: Path,
) -> None:
    url, tried, handled = f"sqlite:///{tmp_path}/state.db", threading.Event(), threading.Event()

    def fail(_: Phase) -> None:
        tried.set()
        raise OperationalError("select", {}, Exception("the server closed the connection"))

    state, queue = state_at(url), DurableQueue(url, 1, fail)
    with started(queue):
        with state.write() as connection:
            begin = queue.begin(connection, _ACT)
        begin()
        assert tried.wait(20)
    with started(DurableQueue(url, 1, lambda _: handled.set())):
        assert handled.wait(20)


def test_a_start_that_failed_leaves_nothing_in_the_way_of_the_next(tmp_path: Path) -> None:
    """The database was away when this receiver was to lead: it leads once it is back."""
    url, handled = f"sqlite:///{tmp_path}/away/state.db", threading.Event()
    queue = DurableQueue(url, 1, lambda _: handled.set())
    with pytest.raises(Exception, match="unable to open database file"):
        queue.start()
    state = state_at(url)
    queue.start()
    queue.connect()
    try:
        with state.write() as connection:
            queue.enqueue(connection, Phase(run_id="run", kind=PhaseKind.ACT, number=1))
        assert handled.wait(20)
    finally:
        queue.stop()
        queue.disconnect()


def test_what_an_earlier_release_left_is_finished(tmp_path: Path) -> None:
    """Under the names that all releases share: a change of one would strand what is in flight."""
    url = f"sqlite:///{tmp_path}/state.db"
    handled: list[Phase] = []
    finished = threading.Event()

    def handle(phase: Phase) -> None:
        handled.append(phase)
        finished.set()

    queue = DurableQueue(url, 1, handle)
    queue.start()
    queue.stop()
    left = Phase(run_id="run", kind=PhaseKind.VERIFY, number=7)
    earlier = DBOSClient(system_database_url=url)
    earlier.enqueue(
        {
            "workflow_name": "phase",
            "queue_name": "runs",
            "workflow_id": "run:verify:7:0",
            "app_version": "1",
        },
        "run:verify:7:0",
    )
    earlier.destroy()
    queue.start()
    try:
        assert finished.wait(20)
        assert handled == [left]
    finally:
        queue.stop()


class _Queue:
    """In place of DBOS's, which keeps the interval in the database."""

    def __init__(self) -> None:
        self.intervals: list[float] = []

    def set_polling_interval_sec(self, seconds: float) -> None:
        self.intervals.append(seconds)


def test_an_idle_queue_is_polled_rarely(clock: Clock) -> None:
    """Until a phase is due within a minute; after a start also for what another one left."""
    queue: Any = _Queue()
    polling = QueuePolling(queue, clock)
    for expected, passed_s in (([], 59), ([2.0], 2), ([2.0], 60)):
        clock.now += passed_s
        polling.adapt()
        assert queue.intervals == expected
    polling.expect(1800)
    polling.adapt()
    assert queue.intervals == [2.0]
    polling.expect(5)
    for expected, passed_s in (([2.0, 0.25], 0), ([2.0, 0.25], 14), ([2.0, 0.25, 2.0], 2)):
        clock.now += passed_s
        polling.adapt()
        assert queue.intervals == expected


def test_an_idle_queue_looks_for_ended_delays_every_five_seconds(clock: Clock) -> None:
    """And each time it is asked, while a phase is due soon."""
    polling = QueuePolling(cast("Any", _Queue()), clock)
    clock.now += 61
    for expected, passed_s in ((True, 0), (False, 4), (True, 1), (False, 1)):
        clock.now += passed_s
        assert polling.may_end_delays() is expected
    polling.expect(30)
    assert polling.may_end_delays()


def test_a_delayed_phase_runs(tmp_path: Path) -> None:
    url, handled = f"sqlite:///{tmp_path}/state.db", threading.Semaphore(0)
    queue, state = DurableQueue(url, 1, lambda _: handled.release()), state_at(url)
    queue.connect()
    with started(queue):
        with state.write() as connection:
            queue.enqueue(connection, _ACT, delay_s=0.5)
        assert handled.acquire(timeout=20)
    queue.disconnect()
