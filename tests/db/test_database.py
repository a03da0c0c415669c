"""Write transactions of several threads."""

import threading
import time
from pathlib import Path

from sqlalchemy import text

from receiver.db.database import database

_INSERT = text("INSERT INTO written VALUES (:by)")


def test_a_thread_that_keeps_writing_keeps_no_other_one_out(tmp_path: Path) -> None:
    """Each of ten writes gets its turn soon; SQLite alone answers that the database is locked."""
    state = database(f"sqlite:///{tmp_path}/state.db")
    writing, stopping = threading.Event(), threading.Event()
    with state.write() as connection:
        connection.execute(text("CREATE TABLE written (by TEXT)"))

    def keep_writing() -> None:
        while not stopping.is_set():
            with state.write() as connection:
                connection.execute(_INSERT, {"by": "busy"})
                writing.set()
                time.sleep(0.02)

    busy = threading.Thread(target=keep_writing)
    busy.start()
    try:
        for _ in range(10):
            writing.clear()
            writing.wait()
            asked_at = time.monotonic()
            with state.write() as connection:
                connection.execute(_INSERT, {"by": "patient"})
            assert time.monotonic() - asked_at < 2
    finally:
        stopping.set()
        busy.join()
