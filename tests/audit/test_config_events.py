"""Audit records of the configuration and of its changes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from actions.audit import log
from receiver.audit.config_events import ConfigRecorder
from receiver.db.database import Database
from receiver.evidence.targets.rules import TargetRules
from receiver.http.access import tokens
from receiver.http.access.callers import Role
from receiver.playbooks.loader import Playbooks, load
from receiver.playbooks.watched_files import WatchedFiles, watch_playbooks
from receiver.settings import Settings
from tests.conftest import Clock

_PLAYBOOKS = Path(__file__).parents[2] / "playbooks"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    tokens_file = tmp_path / "tokens.json"
    tokens.create(tokens_file, Role.VIEWER, "alice")
    return tokens_file


def _recorder(
    state: Database,
    clock: Clock,
    file: Path,
    watched: Sequence[WatchedFiles] = (),
    **more: Any,
) -> ConfigRecorder:
    settings = Settings(tokens_file=file, **more)
    playbooks = watch_playbooks(settings, load(settings.playbooks), lambda _: None)
    return ConfigRecorder(
        settings=settings,
        watched=watched or [playbooks],
        database=state,
        clock=clock,
    )


def _events(state: Database) -> list[tuple[str, dict[str, Any]]]:
    with state.read() as connection:
        records = log.records(connection)
    return [(row["event"], json.loads(row["detail"])) for row in reversed(records)]


def test_a_start_records_the_configuration_without_secrets(
    state: Database, clock: Clock, file: Path
) -> None:
    """Numbers and modes as values; a setting that could hold a secret only as set."""
    secret = "postgresql://app:s3cret@db/prod"
    recorder = _recorder(state, clock, file, workers=3, database_url=secret)
    recorder.start()
    recorder.stop()
    (name, detail), (last, _) = _events(state)
    assert (name, last) == ("service_started", "service_stopped")
    assert detail["settings"]["workers"] == 3
    assert detail["settings"]["database_url"] == "set"
    assert detail["tokens"] == {"alice": "viewer"}
    assert set(detail["playbooks"]) == {path.stem for path in _PLAYBOOKS.glob("*.yaml")}
    assert "s3cret" not in str(_events(state))


def test_a_difference_from_the_last_start_is_recorded(
    state: Database, clock: Clock, file: Path
) -> None:
    """And nothing else on further starts; the very first start has no difference."""
    starts: list[dict[str, Any]] = [{}, {}, {"mode": "auto"}]
    for more in starts:
        recorder = _recorder(state, clock, file, **more)
        recorder.start()
        recorder.stop()
    changed = [detail for name, detail in _events(state) if name == "configuration_changed"]
    assert [(change["what"], change["after"]["mode"]) for change in changed] == [
        ("settings", "auto")
    ]


def test_a_new_token_is_recorded_once(state: Database, clock: Clock, file: Path) -> None:
    """By name and role, and not again after the next start."""
    for _ in range(2):
        recorder = _recorder(state, clock, file)
        recorder.start()
        if len(tokens.list_tokens(file)) == 1:
            tokens.create(file, Role.ADMIN, "mallory")
        recorder.run_once()
        recorder.stop()
    changed = [detail for name, detail in _events(state) if name == "configuration_changed"]
    assert [change["after"] for change in changed] == [{"alice": "viewer", "mallory": "admin"}]


def test_changed_playbooks_are_loaded_and_on_record(
    state: Database, clock: Clock, file: Path, tmp_path: Path
) -> None:
    """Once their files rest; a folder with a finding leaves all of the old ones in place."""
    folder = tmp_path / "playbooks"
    folder.mkdir()
    whole = (_PLAYBOOKS / "disk-full.yaml").read_text()
    (folder / "disk-full.yaml").write_text(whole)
    playbooks = load(folder)
    settings, shown = Settings(playbooks=folder), list[Playbooks]()
    recorder = _recorder(state, clock, file, [watch_playbooks(settings, playbooks, shown.append)])
    recorder.start()
    full = {"alertname": "DiskSpaceLow"}
    (folder / "more.yaml").write_text(
        whole.replace("name: disk-full", "name: more").replace("DiskSpaceLow", "DiskSlow")
    )
    recorder.run_once()
    assert playbooks.matching({"alertname": "DiskSlow"}) == []
    recorder.run_once()
    assert [one.name for one in playbooks.matching({"alertname": "DiskSlow"})] == ["more"]
    (folder / "more.yaml").write_text("name: more")
    (folder / "disk-full.yaml").write_text(whole.replace("DiskSpaceLow", "Nothing"))
    for _ in range(3):
        recorder.run_once()
    assert [one.name for one in playbooks.matching(full)] == ["disk-full"]
    recorder.stop()
    events = _events(state)
    changed = [detail for name, detail in events if name == "configuration_changed"]
    assert [(one["what"], sorted(one["after"])) for one in changed] == [
        ("playbooks", ["disk-full", "more"])
    ]
    (refused,) = [detail for name, detail in events if name == "configuration_refused"]
    assert shown == [playbooks]
    assert "more.yaml:1: match: Field required" in refused["findings"][0]


def test_changed_targets_and_roles_are_loaded_and_on_record(
    state: Database, clock: Clock, file: Path, tmp_path: Path
) -> None:
    """A file with a finding leaves the old one in place; the other one is loaded all the same."""
    targets, roles = tmp_path / "targets.yaml", tmp_path / "roles.d"
    targets.write_text("instances: [{label: node, as: [dns_name]}]")
    roles.mkdir()
    shipped = (Path(__file__).parents[2] / "roles.d" / "opentelemetry.yaml").read_text()
    (roles / "one.yaml").write_text(shipped)
    settings = Settings(targets=targets, roles=roles)
    rules = TargetRules.of(settings)
    recorder = _recorder(state, clock, file, rules.watch(settings))
    recorder.start()
    targets.write_text("instances: []")
    (roles / "two.yaml").write_text(shipped.replace("name: opentelemetry", "name: mine"))
    for _ in range(3):
        recorder.run_once()
    assert [label.label for label in rules.mapping.instances] == ["node"]
    assert [one.name for one in rules.exporters][1:] == ["opentelemetry", "mine"]
    targets.write_text("instances: [{label: host, as: [id]}]")
    for _ in range(3):
        recorder.run_once()
    assert [label.label for label in rules.mapping.instances] == ["host"]
    recorder.stop()
    events = [detail for name, detail in _events(state) if name.startswith("configuration_")]
    assert [detail["what"] for detail in events] == ["targets", "roles", "targets"]
    assert "targets.yaml:1: instances" in events[0]["findings"][0]
    assert sorted(events[1]["after"]) == ["one.yaml", "two.yaml"]
    assert events[2]["before"] != events[2]["after"]
