"""Announced changes: in the audit, in conditions, on the run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from actions.place import HOME
from receiver.controls import changes
from receiver.controls.records import Change
from receiver.db.database import Database
from receiver.runs.model import State
from tests.actions.audit.audit_fixtures import fill, undo_last
from tests.end_to_end.whole_fixtures import Whole

_ROLLS_BACK = """
name: high-cpu
match: ['alertname="HighCPU"']
mode: auto
steps:
  - action: reboot_instance
    when: change.minutes_ago >= 20
verify: {expr: recovered, for: 10s, timeout: 60s}
"""


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    whole = Whole(tmp_path, playbook=_ROLLS_BACK)
    yield whole
    whole.close()


def _announce(whole: Whole, minutes_ago: float, what: str, group: str = "") -> None:
    at = whole.now - 60 * minutes_ago
    change = Change(at=at, what=what, place=HOME, group=group)
    with whole.state.write() as connection:
        changes.announce(connection, change, "ci", whole.now)


def test_a_change_with_the_number_of_an_undone_record_is_seen(state: Database) -> None:
    """A reader that has read the record reads its number again."""
    records = changes.ChangeRecords()
    change = Change(at=5.0, what="v2", place=HOME, group="web")
    fill(state, 2)
    with state.read() as connection:
        assert records.newest(connection, HOME, "web", 9.0) is None
    undo_last(state)
    with state.write() as connection:
        changes.announce(connection, change, "ci", 6.0)
    with state.read() as connection:
        assert records.newest(connection, HOME, "web", 9.0) == change


def test_no_step_is_taken_soon_after_a_deploy(whole: Whole) -> None:
    first, *_ = whole.group()
    _announce(whole, 25, "web 1.2.2", "web-asg")
    _announce(whole, 5, "web 1.2.3", "web-asg")
    whole.deliver(first)
    whole.work()
    run = whole.only()
    assert (run.state, run.refusal) == (State.REFUSED, "no_step")


def test_the_run_tells_the_newest_change_of_its_group_or_of_all(whole: Whole) -> None:
    first, *_ = whole.group()
    _announce(whole, 30, "new base image")
    _announce(whole, 40, "web 1.2.2", "web-asg")
    _announce(whole, 5, "api 2.0", "api-asg")
    whole.deliver(first)
    whole.work()
    gates = {gate.name: gate.detail for gate in whole.only().gates}
    assert gates["change"].endswith("; 30 min ago: new base image")


def test_a_group_without_a_change_has_an_old_one(whole: Whole) -> None:
    first, *_ = whole.group()
    whole.deliver(first)
    whole.work()
    assert whole.only().state is not State.REFUSED
