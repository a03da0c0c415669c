"""A tail of the audit log, on a database of its own."""

from pathlib import Path

import pytest

from receiver.audit.tail import AuditTail
from receiver.db.database import Database, database


def test_a_tail_without_news_takes_no_write_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its position is stored once; later passes only read."""
    state = database(f"sqlite:///{tmp_path}/state.db")
    state.migrate("state")
    idle: list[str] = []
    tail = AuditTail(state, "test", {"paused"}, lambda _: None, lambda: idle.append("idle"))
    tail.catch_up()

    def refused(_: Database) -> None:
        raise AssertionError("a write transaction")

    monkeypatch.setattr(Database, "write", refused)
    tail.catch_up()
    assert idle == ["idle", "idle"]
