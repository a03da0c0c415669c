"""What is old goes; what still guards something stays, on SQLite and on PostgreSQL."""

import gc
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Table, insert, select
from ulid import ULID

from actions import tables as ours
from actions.assurance.cloudtrail import EVENTS_KEPT_S
from actions.execution.rate_limits import DAY_S
from actions.step_key import StepKey, StepKind
from demo.stack import postgres
from demo.stack.processes import Processes
from receiver.db import tables
from receiver.db.database import Database, database, inbox_url
from receiver.runs.metrics import RetentionMetrics
from receiver.runs.model import State
from receiver.runs.retention import Retention
from receiver.webhook.episodes import episodes
from receiver.webhook.inbox import Inbox
from receiver.workflow.durable_queue import DurableQueue, Phase, PhaseKind
from tests.conftest import Clock

_KEEP_S = 2 * DAY_S
_TABLES = (
    tables.runs,
    tables.run_search,
    tables.overrides,
    ours.intents,
    ours.attempts,
    ours.claims,
    ours.breakers,
)
_PLACE = ("account", "region")


@dataclass
class Records:
    """Records of a service that only runs retention; ages are in seconds before now."""

    state: Database
    inbox: Inbox
    queue: DurableQueue
    clock: Clock
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    metrics: RetentionMetrics = field(init=False)
    # Called for each phase that the queue runs.
    on_phase: Callable[[], None] = lambda: None
    _numbers: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.metrics = RetentionMetrics(self.registry)

    def let_go(self) -> None:
        Retention(
            keep_s=_KEEP_S,
            database=self.state,
            inbox=self.inbox,
            delete_phases=self.queue.delete_finished,
            metrics=self.metrics,
            clock=self.clock,
        ).run_once()

    def run(self, age_s: float, *, state: State = State.REFUSED, ended: bool = True) -> str:
        at, run_id = self.clock.now - age_s, str(ULID())
        row = {
            "id": run_id,
            "state": state,
            "fingerprint": "f",
            "labels": {},
            "annotations": {},
            "starts_at": at,
            "received_at": at,
            "priority": 1,
            "lane": "web",
            "gates": [],
            "steps_begun": 0,
            "next_rung": 0,
            "updated_at": at,
            "ended_at": at if ended else None,
        }
        self.add(tables.runs, **row)
        self.add(tables.run_search, run_id=run_id, alertname="", severity="", text="")
        return run_id

    def episode(
        self, run_id: str, *, ended_s: float | None, seen_s: float, resolved_s: float | None = None
    ) -> None:
        now = self.clock.now
        row = {
            "key": f"{next(self._numbers):016x}",
            "run_id": run_id,
            "starts_at": now - seen_s,
            "last_seen_at": now - seen_s,
            "repeats": 0,
            "resolved_at": None if resolved_s is None else now - resolved_s,
            "ended_at": None if ended_s is None else now - ended_s,
        }
        with self.inbox.database.write() as connection:
            connection.execute(insert(episodes).values(row))

    def step(self, run_id: str, age_s: float) -> None:
        at = self.clock.now - age_s
        self.add(
            ours.intents,
            run_id=run_id,
            step=StepKey(StepKind.LADDER, 0),
            action="reboot_instance",
            target="i-1",
            params={},
            before={},
            made={},
            fence=1,
            stage="verified",
            started_at=at,
        )
        self.add(
            ours.attempts,
            run_id=run_id,
            step=StepKey(StepKind.LADDER, 0),
            target="i-1",
            group_name="web",
            playbook="p",
            at=at,
        )

    def claim(self, target: str, over_s: float, *, held: bool) -> None:
        over = self.clock.now - over_s
        self.add(
            ours.claims,
            target=target,
            run_id="r",
            fence=3,
            claimed_at=over - 60,
            cooldown_until=over,
            held=held,
        )

    def override(self, name: str, over_s: float) -> None:
        over = self.clock.now - over_s
        self.add(
            tables.overrides,
            id=name,
            matchers=[],
            effect="hold",
            starts_at=0.0,
            ends_at=over,
            created_by="alice",
            comment="c",
        )

    def add(self, table: Table, **row: Any) -> None:
        with self.state.write() as connection:
            connection.execute(insert(table).values(row))

    def kept(self, table: Table) -> set[str]:
        """The first part of each key, after the account and region."""
        source = self.inbox.database if table is episodes else self.state
        names = [name for name in table.primary_key.columns if name.key not in _PLACE]
        column = table.c.run_id if table is episodes else names[0]
        with source.read() as connection:
            return set(connection.scalars(select(column)))

    def removed(self, kind: str) -> float | None:
        name = "smartcloudops_retention_removed_total"
        return self.registry.get_sample_value(name, {"kind": kind})


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("retention")
    if request.param == "sqlite":
        yield f"sqlite:///{folder}/state.db"
        return
    with Processes(folder) as processes, postgres.running(processes) as server:
        yield server.create("retention")


@pytest.fixture
def records(url: str, clock: Clock) -> Iterator[Records]:
    state, kept = database(url), database(inbox_url(url), use="inbox")
    state.migrate("state")
    kept.migrate("inbox")
    built: list[Records] = []
    queue = DurableQueue(url, 1, lambda _: built[0].on_phase())
    built.append(Records(state, Inbox(kept, 360.0, lambda: None), queue, clock))
    queue.start()
    queue.connect()
    try:
        yield built[0]
    finally:
        queue.stop()
        queue.disconnect()
        with state.write() as connection:
            for table in _TABLES:
                connection.execute(table.delete())
        with kept.write() as connection:
            connection.execute(episodes.delete())
        state.engine.dispose()
        kept.engine.dispose()
        # The engine leaves the connection that it listened on to the garbage collector.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


def test_ended_runs_go_once_they_are_old(records: Records) -> None:
    """More than fit in a batch, and what finds them; the younger and the unended stay."""
    for _ in range(450):
        records.run(3 * DAY_S)
    stay = {
        records.run(DAY_S),
        records.run(3 * DAY_S, state=State.AWAITING_APPROVAL, ended=False),
        # A person has begun to roll it back after it had ended.
        records.run(3 * DAY_S, state=State.ROLLING_BACK),
    }
    records.let_go()
    assert records.kept(tables.runs) == records.kept(tables.run_search) == stay
    assert records.removed("runs") == 450


def test_an_alert_that_still_fires_keeps_its_run(records: Records) -> None:
    """However long ago the run ended: copies are attached to it until the episode is over."""
    old, batch = 3 * DAY_S, [records.run(4 * DAY_S) for _ in range(250)]
    for run_id in batch:
        records.episode(run_id, ended_s=4 * DAY_S, seen_s=60)
    silent, resolved, unended = (records.run(old) for _ in range(3))
    records.episode(silent, ended_s=old, seen_s=old)
    records.episode(resolved, ended_s=old, seen_s=old, resolved_s=60)
    records.episode(unended, ended_s=None, seen_s=old)
    records.let_go()
    assert records.kept(episodes) == {*batch, resolved, unended}
    assert records.kept(tables.runs) == {*batch, resolved, unended}


def test_steps_stay_as_long_as_somebody_may_ask_for_them(records: Records) -> None:
    """CloudTrail for intents, limits and breakers for attempts; with their run in any case."""
    old = max(EVENTS_KEPT_S, _KEEP_S) + DAY_S
    run_of_old = records.run(old, state=State.VERIFYING, ended=False)
    records.step(run_of_old, old)
    records.step("gone-long-ago", old)
    records.step("gone", 3 * DAY_S)
    records.let_go()
    assert records.kept(ours.intents) == {run_of_old, "gone"}
    assert records.kept(ours.attempts) == {run_of_old}


def test_what_guards_stays(records: Records) -> None:
    """Holds and cooldowns on targets, what people held, and breakers."""
    records.claim("i-free", 3 * DAY_S, held=False)
    records.claim("i-held", 3 * DAY_S, held=True)
    records.claim("i-cooling", -60, held=False)
    records.override("over", 3 * DAY_S)
    records.override("lately", DAY_S)
    records.override("holds", -60)
    records.add(ours.breakers, playbook="p", failures=3, opened_at=0.0)
    records.let_go()
    assert records.kept(ours.claims) == {"i-held", "i-cooling"}
    assert records.kept(tables.overrides) == {"lately", "holds"}
    assert records.kept(ours.breakers) == {"p"}


def test_workflows_that_are_done_go_and_those_that_wait_stay(
    records: Records, clock: Clock
) -> None:
    """The engine's own rows tell nothing after a day; a phase that is delayed is to come."""
    clock.now = time.time()
    phases = threading.Semaphore(0)
    records.on_phase = phases.release
    with records.state.write() as connection:
        for number in range(3):
            records.queue.enqueue(connection, Phase(run_id="a", kind=PhaseKind.ACT, number=number))
        waits = Phase(run_id="b", kind=PhaseKind.EXPIRE, number=0)
        records.queue.enqueue(connection, waits, delay_s=3_600)
    for _ in range(3):
        assert phases.acquire(timeout=20)
    records.let_go()
    assert records.removed("workflows") == 0
    clock.now += 2 * DAY_S
    until = time.monotonic() + 20
    # A phase has run before DBOS has recorded that it finished.
    while records.removed("workflows") != 3:
        assert time.monotonic() < until
        records.let_go()
    clock.now += 100 * DAY_S
    records.let_go()
    assert records.removed("workflows") == 3


def test_a_database_that_is_away_is_counted_and_waited_for(records: Records) -> None:
    """The next minute tries again."""
    records.queue.disconnect()
    records.let_go()
    name = "smartcloudops_retention_failures_total"
    assert records.registry.get_sample_value(name) == 1
    records.queue.connect()
    records.let_go()
    assert records.registry.get_sample_value(name) == 1


def test_a_log_that_grew_in_a_storm_is_cut_afterwards(tmp_path: Path) -> None:
    """SQLite's write-ahead log, which grows for as long as somebody reads, and never shrank."""
    state = database(f"sqlite:///{tmp_path}/state.db")
    with state.write() as connection:
        connection.exec_driver_sql("CREATE TABLE many (some BLOB)")
    log = tmp_path / "state.db-wal"
    with state.read() as reader:
        reader.exec_driver_sql("SELECT count(*) FROM many").fetchone()
        for _ in range(25):
            with state.write() as connection:
                connection.exec_driver_sql("INSERT INTO many VALUES (randomblob(1000000))")
        assert log.stat().st_size > 20 * 2**20
    for _ in range(5):
        with state.write() as connection:
            connection.exec_driver_sql("INSERT INTO many VALUES (randomblob(1000))")
    assert log.stat().st_size <= 16 * 2**20
