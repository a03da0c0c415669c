"""The durable engine starts again after a start that failed."""

import threading
from pathlib import Path

import pytest

from receiver.database import database
from receiver.engine import Engine, Kind, Phase


def test_a_start_that_failed_leaves_nothing_in_the_way_of_the_next(tmp_path: Path) -> None:
    """The database was away when this receiver was to lead: it leads once it is back."""
    url, handled = f"sqlite:///{tmp_path}/away/state.db", threading.Event()
    engine = Engine(url, 1, lambda _: handled.set())
    with pytest.raises(Exception, match="unable to open database file"):
        engine.start()
    state = database(url)
    engine.start()
    engine.connect()
    try:
        with state.write() as connection:
            engine.enqueue(connection, Phase(run_id="one", kind=Kind.ACT, number=1))
        assert handled.wait(20)
    finally:
        engine.stop()
        engine.disconnect()
