"""The durable queue starts again after a failed start, and after another release."""

import threading
from pathlib import Path

import pytest
from dbos import DBOSClient

from receiver.db.database import database
from receiver.workflow.durable_queue import DurableQueue, Phase, PhaseKind


def test_a_start_that_failed_leaves_nothing_in_the_way_of_the_next(tmp_path: Path) -> None:
    """The database was away when this receiver was to lead: it leads once it is back."""
    url, handled = f"sqlite:///{tmp_path}/away/state.db", threading.Event()
    queue = DurableQueue(url, 1, lambda _: handled.set())
    with pytest.raises(Exception, match="unable to open database file"):
        queue.start()
    state = database(url)
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
