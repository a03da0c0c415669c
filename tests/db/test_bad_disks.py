"""A database that is damaged, full, read-only, locked or of a newer release stops all actions.

Readiness names the cause, and the service recovers by itself once it is gone.
"""

import os
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path

import psycopg
import pytest

from demo.stack import postgres
from demo.stack.processes import Processes
from receiver.db.database import database, inbox_url
from receiver.http.access import tokens
from receiver.http.access.callers import Role
from tests.end_to_end.service_process import Service, settings

_STARTS_S, _WITHIN_S = 60, 30.0


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Processes(tmp_path / "logs") as processes:
        yield Service.make(tmp_path, processes)


def _alert(number: int) -> dict[str, object]:
    return {
        "status": "firing",
        "labels": {"alertname": "HighCPU", "n": str(number)},
        "startsAt": "2026-11-23T06:39:31.435Z",
    }


def _eventually(look: Callable[[], bool]) -> None:
    until = time.monotonic() + _WITHIN_S
    while not look():
        assert time.monotonic() < until
        time.sleep(0.2)


def _start(folder: Path) -> subprocess.CompletedProcess[str]:
    """A start that is expected to fail."""
    tokens.create(folder / "tokens.json", Role.WEBHOOK, "w")
    return subprocess.run(
        [sys.executable, "-m", "receiver", "serve"],
        env=settings(folder) | {"SMARTCLOUDOPS_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=_STARTS_S,
        check=False,
    )


def _migrated(folder: Path) -> tuple[Path, Path]:
    """The two files, with what a service has in them."""
    url = f"sqlite:///{folder}/state.db"
    for file_url, history in ((url, "state"), (inbox_url(url), "inbox")):
        opened = database(file_url)
        opened.migrate(history)
        opened.engine.dispose()
    return folder / "state.db", folder / "state-inbox.db"


def _not_a_database(folder: Path) -> Path:
    (folder / "state.db").write_bytes(os.urandom(50_000))
    return folder / "state.db"


def _truncated(folder: Path) -> Path:
    state, _ = _migrated(folder)
    os.truncate(state, state.stat().st_size // 2)
    return state


def _overwritten(folder: Path) -> Path:
    _, inbox = _migrated(folder)
    size = inbox.stat().st_size
    with inbox.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    return inbox


def _a_folder_for_a_file(folder: Path) -> Path:
    (folder / "state.db").mkdir()
    return folder / "state.db"


def _newer(folder: Path) -> Path:
    state, _ = _migrated(folder)
    with sqlite3.connect(state) as file:
        file.execute("UPDATE schema_state SET version_num = 'state_9999'")
    return state


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (_not_a_database, "file is not a database"),
        (_truncated, "malformed"),
        (_overwritten, "malformed"),
        (_a_folder_for_a_file, "Is a directory"),
        (_newer, "newer release"),
    ],
)
def test_a_start_on_an_unusable_file_fails_in_one_line(
    tmp_path: Path, harm: Callable[[Path], Path], reason: str
) -> None:
    """An exit status, one line, no stack trace; the file is unchanged."""
    harmed = harm(tmp_path)
    before = harmed.stat().st_size
    ended = _start(tmp_path)
    assert ended.returncode in {1, 2}
    assert len(ended.stderr.splitlines()) == 1
    assert reason in ended.stderr
    assert harmed.stat().st_size == before


def test_a_full_disk_is_reported_until_it_has_room(service: Service) -> None:
    """No delivery is acknowledged and readiness names it; with room again the service recovers."""
    assert service.deliver(_alert(0)).json()["accepted"] == 1
    assert service.child is not None
    pid, files = service.child.pid, (service.folder.glob("state*.db*"))
    least = min(file.stat().st_size for file in files if file.stat().st_size)
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (least, before[1]))
    _refused(service, "inbox", ("disk I/O error", "full"))
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    _recovers(service)


def test_a_locked_file_is_reported_until_it_is_unlocked(service: Service) -> None:
    """Another program holds the lock: 503 within the time that Alertmanager waits."""
    lock = sqlite3.connect(service.folder / "state-inbox.db", isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    _refused(service, "inbox", ("locked", "no answer"))
    lock.execute("ROLLBACK")
    _recovers(service)


def test_a_read_only_file_is_refused_at_the_start(tmp_path: Path) -> None:
    """As a mount that went read-only leaves it; permissions bind no superuser."""
    _migrated(tmp_path)
    env = settings(tmp_path)
    read_only = f"sqlite:///file:{tmp_path}/state.db?mode=ro&uri=true"
    tokens.create(tmp_path / "tokens.json", Role.WEBHOOK, "w")
    ended = subprocess.run(
        [sys.executable, "-m", "receiver", "serve"],
        env=env | {"SMARTCLOUDOPS_DATABASE_URL": read_only, "SMARTCLOUDOPS_PORT": "0"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=_STARTS_S,
        check=False,
    )
    assert ended.returncode in {1, 2}
    assert len(ended.stderr.splitlines()) == 1
    assert "readonly" in ended.stderr


def test_a_read_only_postgresql_is_reported_until_it_is_writable(tmp_path: Path) -> None:
    """As a standby, or with a full disk: no receiver leads, no delivery is taken."""
    with Processes(tmp_path / "logs") as processes, postgres.running(processes) as server:
        url = server.create("service")
        service = Service.make(tmp_path, processes, SMARTCLOUDOPS_DATABASE_URL=url)
        _eventually(lambda: _leads(service))
        _read_only(server.url, "on")
        _refused(service, "inbox", ("ReadOnlySqlTransaction",))
        _refused(service, "database", ("ReadOnlySqlTransaction",))
        _eventually(lambda: not _leads(service))
        _read_only(server.url, "off")
        _recovers(service)
        _eventually(lambda: _leads(service))


def _read_only(url: str, how: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE service SET default_transaction_read_only = {how}")
        # Sessions that are there keep what they began with.
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'service'"
        )


def _leads(service: Service) -> bool:
    return "smartcloudops_leading 1.0" in service.call("GET", "/metrics").text


def _refused(service: Service, check: str, reasons: tuple[str, ...]) -> None:
    """Deliveries get 503, and readiness says what is wrong."""
    number = time.monotonic_ns()
    _eventually(
        lambda: service.deliver(_alert(number)).status_code == HTTPStatus.SERVICE_UNAVAILABLE
    )

    def reported() -> bool:
        answer = service.call("GET", "/readyz")
        checks = answer.json()["checks"]
        named = any(reason in checks[check] for reason in reasons)
        return answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE and named

    _eventually(reported)
    assert service.call("GET", "/healthz").status_code == HTTPStatus.OK


def _recovers(service: Service) -> None:
    """Without a restart: ready, and deliveries are taken and decided."""
    _eventually(lambda: service.call("GET", "/readyz").status_code == HTTPStatus.OK)
    number = time.monotonic_ns()
    assert service.deliver(_alert(number)).json()["accepted"] == 1

    def decided() -> bool:
        runs = service.call("GET", "/api/v1/runs?limit=500", Role.VIEWER).json()["items"]
        ended = {run["alert"]["labels"]["n"] for run in runs if run["ended_at"]}
        return str(number) in ended

    _eventually(decided)
