"""Fixtures for tests of the parts that need a database, and a clock that stands still."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from demo.stack import postgres
from demo.stack.postgres import Postgres
from demo.stack.processes import Processes
from receiver.db.database import Database, database
from tests import fresh_databases

# A busy machine is slow, which says nothing of the code. Each run of the suite draws the same
# inputs, so that its result depends on the commit alone; `make fuzz` draws new ones.
settings.register_profile(
    "suite",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("suite")
# Chosen by `--hypothesis-profile`, as `make fuzz` does.
settings.register_profile(
    "fuzz", settings.get_profile("suite"), derandomize=False, max_examples=10_000
)


# Files of few, long tests. Workers take files in this order, so that none ends alone.
_LONG = (
    "end_to_end/test_invariants.py",
    "bench/test_chaos.py",
    "docs/test_adopting.py",
    "end_to_end/test_chain.py",
    "end_to_end/test_replicas.py",
    "api/test_schema.py",
    "console/test_browser.py",
    "bench/test_soak.py",
    "end_to_end/test_fuzz.py",
)


# A traceback with all local values, which structlog's default is, takes seconds of a test's time.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        ),
    ]
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        path = item.path.as_posix()
        return next((n for n, name in enumerate(_LONG) if path.endswith(name)), len(_LONG))

    items.sort(key=place)


@dataclass
class Clock:
    """Epoch seconds that pass only when a test says so."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """A command that a test calls sets up the log, and may silence it for all tests that follow."""
    former = structlog.get_config()
    yield
    structlog.configure(**former)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Database]:
    """The service's records, empty, on a real SQLite file."""
    fresh_databases.copy_into(tmp_path)
    state = database(f"sqlite:///{tmp_path}/state.db")
    yield state
    state.engine.dispose()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A real PostgreSQL."""
    with (
        Processes(tmp_path_factory.mktemp("postgres")) as processes,
        postgres.running(processes) as server,
    ):
        yield server


@pytest.fixture(scope="module")
def shared(server: Postgres) -> Iterator[Database]:
    """The records on a real PostgreSQL, which several processes may share."""
    records = database(server.create("shared"))
    records.migrate("state")
    yield records
    records.engine.dispose()


@pytest.fixture
def empty(server: Postgres) -> Iterator[Database]:
    """A database of its own on a real PostgreSQL, with nothing in it."""
    records = database(server.create(f"empty_{secrets.token_hex(4)}"))
    yield records
    records.engine.dispose()
