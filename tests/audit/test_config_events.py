"""What the service ran with, and what changed in it."""

import json
from pathlib import Path
from typing import Any

import pytest

from actions.audit import log
from receiver.audit.config_events import ConfigurationRecord
from receiver.db.database import Database
from receiver.http import tokens
from receiver.http.tokens import Role
from receiver.playbooks.loader import load
from receiver.settings import Settings
from tests.conftest import Clock

_PLAYBOOKS = Path(__file__).parents[2] / "playbooks"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "tokens.json"
    tokens.create(found, Role.VIEWER, "alice")
    return found


def _record(
    state: Database,
    clock: Clock,
    file: Path,
    **more: Any,
) -> ConfigurationRecord:
    return ConfigurationRecord(
        settings=Settings(tokens_file=file, **more),
        playbooks=load(_PLAYBOOKS),
        database=state,
        clock=clock,
    )


def _events(state: Database) -> list[tuple[str, dict[str, Any]]]:
    with state.read() as connection:
        found = log.records(connection)
    return [(row["event"], json.loads(row["detail"])) for row in reversed(found)]


def test_a_start_tells_with_what_and_no_secret(state: Database, clock: Clock, file: Path) -> None:
    """Numbers and modes as they are; of what could hold a secret only that it is set."""
    secret = "postgresql://app:s3cret@db/prod"
    record = _record(state, clock, file, workers=3, database_url=secret)
    record.start()
    record.stop()
    (name, detail), (last, _) = _events(state)
    assert (name, last) == ("service_started", "service_stopped")
    assert detail["settings"]["workers"] == 3
    assert detail["settings"]["database_url"] == "set"
    assert detail["tokens"] == {"alice": "viewer"}
    assert set(detail["playbooks"]) == {one.stem for one in _PLAYBOOKS.glob("*.yaml")}
    assert "s3cret" not in str(_events(state))


def test_what_differs_from_the_last_start_is_told(
    state: Database, clock: Clock, file: Path
) -> None:
    """And nothing else, however often it starts; the first start of all differs from nothing."""
    starts: list[dict[str, Any]] = [{}, {}, {"mode": "auto"}]
    for more in starts:
        record = _record(state, clock, file, **more)
        record.start()
        record.stop()
    changed = [detail for name, detail in _events(state) if name == "configuration_changed"]
    assert [(one["what"], one["after"]["mode"]) for one in changed] == [("settings", "auto")]


def test_a_token_that_is_made_meanwhile_is_told_once(
    state: Database, clock: Clock, file: Path
) -> None:
    """By its name and role; after the next start it is known."""
    for _ in range(2):
        record = _record(state, clock, file)
        record.start()
        if len(tokens.every(file)) == 1:
            tokens.create(file, Role.ADMIN, "mallory")
        record.beat()
        record.stop()
    changed = [detail for name, detail in _events(state) if name == "configuration_changed"]
    assert [one["after"] for one in changed] == [{"alice": "viewer", "mallory": "admin"}]
