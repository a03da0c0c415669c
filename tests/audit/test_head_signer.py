"""The service signs the head of its audit while it runs, and again when it stops."""

from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from prometheus_client import CollectorRegistry, Counter, Gauge
from sqlalchemy import delete, insert, select, text, update

from actions.audit import log, signed_heads
from actions.audit.archive import FolderArchive
from actions.audit.chain import GENESIS, hash_of
from actions.aws import clients
from actions.tables import audit as records
from actions.tables import audit_head
from receiver.audit import head_signer
from receiver.audit.head_signer import HeadSigner
from receiver.audit.metrics import HeadMetrics
from receiver.db.database import Database
from receiver.http.access.callers import Role
from receiver.settings import Settings
from tests.actions.audit.audit_fixtures import fill
from tests.api_fixtures import live
from tests.conftest import Clock


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "key.pem"
    write_key(file)
    return file


def write_key(file: Path) -> None:
    key = Ed25519PrivateKey.generate()
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _signer(state: Database, clock: Clock, key: Path, archive: Path) -> HeadSigner:
    return HeadSigner(
        settings=Settings(audit_key_file=key, audit_archive=str(archive)),
        database=state,
        clients=clients.connect,
        metrics=HeadMetrics(CollectorRegistry()),
        clock=clock,
    )


@pytest.fixture
def new_signer(
    state: Database, clock: Clock, key: Path, tmp_path: Path
) -> Callable[[], HeadSigner]:
    """A signer of the same chain, key and archive, as after each start."""
    return lambda: _signer(state, clock, key, tmp_path / "archive")


def _value(metric: Counter | Gauge) -> float:
    (family,) = metric.collect()
    return family.samples[0].value


def test_a_head_is_signed_when_there_are_new_records(
    state: Database, clock: Clock, key: Path, tmp_path: Path
) -> None:
    """Once for each end of the chain."""
    signer = _signer(state, clock, key, tmp_path / "archive")
    for count in (0, 3, 0, 2):
        fill(state, count)
        signer.run_once()
    archive = FolderArchive(tmp_path / "archive")
    assert signed_heads.list_numbers(archive) == [3, 5]
    assert signer.verify() == log.Verification(ok=True, records=5, first_bad=None, anchored=5)
    assert _value(signer.metrics.anchored) == 5


def test_no_loss_of_power_undoes_what_is_signed(
    shared: Database, clock: Clock, key: Path, tmp_path: Path
) -> None:
    """The service would miss the signed record, and pause everything until an admin came."""
    signer = _signer(shared, clock, key, tmp_path / "archive")
    with shared.ask() as connection:
        # By itself PostgreSQL puts it on disk after a fifth of a second.
        connection.exec_driver_sql("ALTER SYSTEM SET wal_writer_delay = '10s'")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
    with shared.write(synced=False) as connection:
        log.append(connection, clock(), log.Event(actor="a", event="settled"))
    with shared.ask() as connection:
        written = connection.exec_driver_sql("SELECT pg_current_wal_insert_lsn()").scalar_one()
    signer.run_once()
    with shared.ask() as connection:
        query = "SELECT pg_current_wal_flush_lsn() >= %s"
        assert connection.exec_driver_sql(query, (written,)).scalar_one()
    assert signed_heads.list_numbers(FolderArchive(tmp_path / "archive")) == [1]


def test_sqlite_writes_so_that_it_syncs(state: Database) -> None:
    """Its version changes for other connections with each commit that writes, and only then."""
    fill(state, 1)
    with state.ask() as other:
        before = other.exec_driver_sql("PRAGMA data_version").scalar_one()
        with state.write() as connection:
            log.sync(connection)
        assert other.exec_driver_sql("PRAGMA data_version").scalar_one() != before
    with state.read() as connection:
        assert log.verify(connection).ok


def test_a_head_that_cannot_be_stored_is_counted_and_retried(
    state: Database, clock: Clock, key: Path, tmp_path: Path
) -> None:
    """Other work goes on."""
    in_the_way = tmp_path / "archive"
    in_the_way.write_text("a file")
    signer = _signer(state, clock, key, in_the_way)
    fill(state, 2)
    signer.run_once()
    assert _value(signer.metrics.failures) == 1
    in_the_way.unlink()
    signer.run_once()
    assert signer.verify().anchored == 2


def test_a_service_that_stops_has_signed_its_last_record(tmp_path: Path, key: Path) -> None:
    """The record `service_stopped`; until then a forged head is reported over HTTP."""
    archive = tmp_path / "archive"
    with live(tmp_path, audit_key_file=key, audit_archive=str(archive)) as service:
        service.start("acting", "i-00000000000000001")
        verification = service.call("GET", "/api/v1/audit/verify", Role.VIEWER).json()
        assert verification["ok"] is True
        (first, *_) = (archive / "heads").iterdir()
        content = first.read_text()
        first.write_text(content.replace('"seq":', '"seq": '))
        assert service.call("GET", "/api/v1/audit/verify", Role.VIEWER).json()["ok"] is True
        first.write_text(content.replace('"hash":"', '"hash":"0'))
        refused = service.call("GET", "/api/v1/audit/verify", Role.VIEWER)
        assert refused.status_code == HTTPStatus.SERVICE_UNAVAILABLE
        first.write_text(content)
        state = service.system.database
    with state.read() as connection:
        (last,) = log.records(connection, limit=1)
    assert last["event"] == "service_stopped"
    assert signed_heads.list_numbers(FolderArchive(archive))[-1] == last["seq"]


@pytest.mark.parametrize("again", [False, True], ids=["it runs on", "it was started again"])
@pytest.mark.parametrize(("cut", "fault"), [(0, "rewritten"), (2, "truncated")])
def test_a_rewritten_chain_is_never_signed(
    state: Database, new_signer: Callable[[], HeadSigner], cut: int, fault: str, *, again: bool
) -> None:
    """However long it goes unnoticed: valid heads would else accumulate for it."""
    signer = new_signer()
    fill(state, 5)
    signer.run_once()
    _rewrite(state, cut)
    if again:
        signer = new_signer()
    signer.run_once()
    assert signer.verify().fault == fault
    for _ in range(101):
        fill(state, 1)
        signer.run_once()
    assert not signer.verify().ok
    assert signed_heads.list_numbers(
        head_signer.open_archive(signer.settings, clients.connect)
    ) == [5]
    assert _value(signer.metrics.failures) > 100


def test_a_new_key_signs_the_chain_from_then_on(
    state: Database, clock: Clock, key: Path, tmp_path: Path
) -> None:
    """Heads signed by the old key do not prevent it."""
    fill(state, 1)
    _signer(state, clock, key, tmp_path / "archive").run_once()
    fill(state, 1)
    write_key(key)
    signer = _signer(state, clock, key, tmp_path / "archive")
    signer.run_once()
    assert _value(signer.metrics.anchored) == 2


def _rewrite(state: Database, cut: int) -> None:
    """Replace all records but the last `cut` by another actor's, with matching hashes."""
    with state.write() as connection:
        triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        for name in connection.scalars(text(triggers)).all():
            connection.execute(text(f"DROP TRIGGER {name}"))
        query = select(records).order_by(records.c.seq)
        rows = [dict(row) for row in connection.execute(query).mappings()]
        connection.execute(delete(records))
        previous = GENESIS
        for row in rows[: len(rows) - cut]:
            row |= {"previous": previous, "actor": "mallory"}
            previous = row["hash"] = hash_of(row)
            connection.execute(insert(records).values(row))
        values = {"seq": len(rows) - cut, "hash": previous}
        connection.execute(update(audit_head).values(values))
