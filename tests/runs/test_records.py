"""The records of a run: typed when they are read, and searched by columns."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import Connection, event
from ulid import ULID

from actions.place import HOME
from receiver.controls.promotion_criteria import figures
from receiver.controls.records import ALL
from receiver.db.database import Database
from receiver.runs import intake, store, transitions
from receiver.runs.model import Ending, Run, State, StoredPlan
from receiver.runs.queries import search
from receiver.webhook import payload
from receiver.webhook.episodes import QueuedAlert
from tests.decision.test_decide import PLAYBOOKS
from tests.plans import stored_plan

_ROOT = Path(__file__).parents[2]
_NOW = 1_800_000_000.0
_PLAN = stored_plan()
_ENDING = Ending(state=State.FAILED, outcome="it failed", roll_back=(), escalate=True)


@pytest.fixture
def run(state: Database) -> Run:
    """A run that acts on a plan, and is ending."""
    alert = payload.parse_alert({"labels": {"alertname": "HighCPU"}}, _NOW)
    assert alert is not None
    queued = QueuedAlert(id=str(ULID()), received_at=_NOW, alert=alert)
    with state.write() as connection:
        intake.insert_from_inbox(connection, [queued], _NOW)
        received = store.get(connection, queued.id)
        assert received is not None
        changes: dict[str, Any] = {"plan": _PLAN, "ending": _ENDING}
        transitions.move(connection, received, State.ACTING, _NOW, **changes)
    return _read(state, queued.id)


def _read(state: Database, run_id: str) -> Run:
    with state.read() as connection:
        run = store.get(connection, run_id)
    assert run is not None
    return run


def test_records_are_read_as_they_were_written(run: Run) -> None:
    """Each one with its type, frozen."""
    assert isinstance(run.plan, StoredPlan)
    assert run.plan.verify == _PLAN.verify
    assert (run.plan.rates, run.plan.params) == (_PLAN.rates, _PLAN.params)
    assert run.ending is not None
    assert (run.ending.state, run.ending.outcome) == (State.FAILED, "it failed")
    with pytest.raises(AttributeError):
        run.plan.target = "another"  # type: ignore[misc] # what is tried


def test_a_plan_of_another_release_is_read(state: Database, run: Run) -> None:
    """With a key that this release does not know, and an action that it lacks."""
    changed = """update runs set plan = replace(replace(plan, '{"action"', '{"new":1,"action"'),
        'reboot_instance', 'power_cycle')"""
    with state.write() as connection:
        connection.exec_driver_sql(changed)
    plan = _read(state, run.id).plan
    assert plan is not None
    assert (plan.action, plan.target) == ("power_cycle", _PLAN.target)


def test_a_damaged_record_is_no_plan(state: Database, run: Run) -> None:
    """What cannot be read is never taken for something else."""
    with state.write() as connection:
        connection.exec_driver_sql(
            """update runs set plan = replace(plan, '"target"', '"other"')"""
        )
    with pytest.raises(ValidationError, match="target"):
        _read(state, run.id)


# By the index that finds the runs.
_SEARCHES: dict[str, Callable[[Connection], Any]] = {
    "ix_runs_playbook": lambda connection: figures(connection, PLAYBOOKS[0], HOME, ALL, None),
    "ix_runs_feedback": lambda connection: search.with_human_verdict(connection, limit=10),
    "ix_runs_group_name_received_at": lambda connection: store.alerting_instances(
        connection, HOME, "web-asg", _NOW
    ),
}


@pytest.mark.parametrize("index", _SEARCHES)
def test_a_search_for_runs_uses_an_index(state: Database, index: str) -> None:
    """No search reads all runs."""
    sent: list[tuple[str, Any]] = []

    def note(*args: Any) -> None:
        sent.append((args[2], args[3]))

    event.listen(state.engine, "before_cursor_execute", note)
    with state.read() as connection:
        _SEARCHES[index](connection)
        event.remove(state.engine, "before_cursor_execute", note)
        (search,) = [item for item in sent if "FROM runs" in item[0]]
        rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {search[0]}", search[1])
        assert any(index in row.detail for row in rows)


def test_no_search_looks_into_json() -> None:
    """The inbox takes JSON apart to insert it; the search has lines of plain text."""
    looks = re.compile(r"\.like\(|\.not_like\(|\.ilike\(|json_extract|, autoescape")
    modules = [path for room in ("actions", "receiver") for path in (_ROOT / room).rglob("*.py")]
    found = {path.name for path in modules if looks.search(path.read_text())}
    assert found == {"episodes.py", "search_text.py"}
