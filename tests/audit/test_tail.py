"""A tail of the audit log, on a database of its own."""

from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from actions.audit import log
from actions.execution import kill_switch
from receiver.audit.tail import AuditTail, Record
from receiver.db.database import Database, database
from tests.actions.audit.audit_fixtures import undo_last


def test_a_tail_without_news_takes_no_write_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its position is stored once; later passes only read."""
    state = database(f"sqlite:///{tmp_path}/state.db")
    state.migrate("state")
    idle: list[str] = []
    tail = AuditTail(state, "test", {"paused"}, lambda _, __: None, lambda: idle.append("idle"))
    tail.catch_up()

    def refused(_: Database) -> None:
        raise AssertionError("a write transaction")

    monkeypatch.setattr(Database, "write", refused)
    tail.catch_up()
    assert idle == ["idle", "idle"]


def test_a_record_that_cannot_be_handled_holds_up_no_other(state: Database) -> None:
    """And what is stored with a record is stored with the position, or not at all."""
    handled: list[str] = []

    def handle(connection: Connection, record: Record) -> None:
        if record.detail["comment"] == "poison":
            raise KeyError("action")
        handled.append(record.detail["comment"])
        kill_switch.set_paused(
            connection, paused=False, by="x", comment=f"after {handled[-1]}", now=0
        )
        if handled.count("broken") == 1:
            raise OperationalError("x", {}, Exception("the disk is full"))

    tail = AuditTail(state, "test", {"paused"}, handle)
    tail.catch_up()
    for comment in ("poison", "broken"):
        with state.write() as connection:
            kill_switch.set_paused(connection, paused=True, by="x", comment=comment, now=0)
    tail.run_once()
    with state.read() as connection:
        assert [record["event"] for record in log.records(connection)] == ["paused", "paused"]
    tail.run_once()
    assert handled == ["broken", "broken"]
    with state.read() as connection:
        events = [record["event"] for record in log.records(connection)]
    assert events == ["resumed", "paused", "paused"]


@pytest.mark.parametrize("more", [0, 1])
def test_a_record_with_the_number_of_an_undone_one_is_passed_on(state: Database, more: int) -> None:
    """People are told of it, though its number was read before; and of what comes after it."""
    passed: list[str] = []
    tail = AuditTail(
        state, "test", {"paused"}, lambda _, record: passed.append(record.detail["comment"])
    )
    tail.catch_up()
    with state.write() as connection:
        log.append(connection, 1.0, log.Event(actor="x", event="step_dispatched"))
    tail.catch_up()
    undo_last(state)
    comments = [f"after {number}" for number in range(1 + more)]
    for comment in comments:
        with state.write() as connection:
            kill_switch.set_paused(connection, paused=True, by="x", comment=comment, now=0)
    tail.catch_up()
    assert passed == comments
