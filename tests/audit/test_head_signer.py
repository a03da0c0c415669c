"""The service signs the head of its audit while it runs, and once more when it stops."""

from http import HTTPStatus
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from sqlalchemy import delete, insert, select, text, update

from actions.audit import log, signed_heads
from actions.audit.archive import Folder
from actions.audit.chain import GENESIS, hash_of
from actions.aws import clients
from actions.tables import audit as records
from actions.tables import audit_head
from receiver.audit.head_signer import Anchoring
from receiver.db.database import Database
from receiver.http.tokens import Role
from receiver.metrics import Metrics
from receiver.settings import Settings
from tests.actions.audit.audit_fixtures import fill
from tests.api_fixtures import live
from tests.conftest import Clock


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "key.pem"
    _write_key(file)
    return file


def _write_key(file: Path) -> None:
    made = Ed25519PrivateKey.generate()
    file.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _anchoring(state: Database, clock: Clock, key: Path, archive: Path) -> Anchoring:
    return Anchoring(
        settings=Settings(audit_key_file=key, audit_archive=str(archive)),
        database=state,
        clients=clients.connect,
        metrics=Metrics(()),
        clock=clock,
    )


def _value(anchoring: Anchoring, name: str) -> float | None:
    return anchoring.metrics.registry.get_sample_value(f"smartcloudops_audit_{name}")


def test_a_head_is_signed_when_there_is_something_new(
    state: Database, clock: Clock, key: Path, tmp_path: Path
) -> None:
    """Once for each end of the chain, which it then speaks for."""
    anchoring = _anchoring(state, clock, key, tmp_path / "archive")
    for count in (0, 3, 0, 2):
        fill(state, count)
        anchoring.beat()
    archive = Folder(tmp_path / "archive")
    assert signed_heads.numbers(archive) == [3, 5]
    assert anchoring.verify() == log.Verification(ok=True, records=5, first_bad=None, anchored=5)
    assert _value(anchoring, "anchored") == 5


def test_a_head_that_cannot_be_kept_is_counted_and_tried_again(
    state: Database, clock: Clock, key: Path, tmp_path: Path
) -> None:
    """What acts goes on."""
    in_the_way = tmp_path / "archive"
    in_the_way.write_text("a file")
    anchoring = _anchoring(state, clock, key, in_the_way)
    fill(state, 2)
    anchoring.beat()
    assert _value(anchoring, "anchor_failures_total") == 1
    in_the_way.unlink()
    anchoring.beat()
    assert anchoring.verify().anchored == 2


def test_a_service_that_stops_has_signed_its_last_record(tmp_path: Path, key: Path) -> None:
    """The one that says that it stopped; meanwhile a forged head is told over HTTP."""
    archive = tmp_path / "archive"
    with live(tmp_path, audit_key_file=key, audit_archive=str(archive)) as service:
        service.start("acting", "i-00000000000000001")
        said = service.call("GET", "/api/v1/audit/verify", Role.VIEWER).json()
        assert said["ok"] is True
        (first, *_) = (archive / "heads").iterdir()
        kept = first.read_text()
        first.write_text(kept.replace('"seq":', '"seq": '))
        assert service.call("GET", "/api/v1/audit/verify", Role.VIEWER).json()["ok"] is True
        first.write_text(kept.replace('"hash":"', '"hash":"0'))
        refused = service.call("GET", "/api/v1/audit/verify", Role.VIEWER)
        assert refused.status_code == HTTPStatus.SERVICE_UNAVAILABLE
        first.write_text(kept)
        state = service.system.database
    with state.read() as connection:
        (last,) = log.records(connection, limit=1)
    assert last["event"] == "service_stopped"
    assert signed_heads.numbers(Folder(archive))[-1] == last["seq"]


@pytest.mark.parametrize("again", [False, True], ids=["it runs on", "it was started again"])
@pytest.mark.parametrize(("cut", "fault"), [(0, "rewritten"), (2, "truncated")])
def test_a_chain_made_anew_is_never_signed_for(  # noqa: PLR0913, PLR0917 one argument a fixture
    state: Database, clock: Clock, key: Path, tmp_path: Path, cut: int, fault: str, *, again: bool
) -> None:
    """However long nobody looks: else ever more heads would speak for it, and none against."""
    anchoring = _anchoring(state, clock, key, tmp_path / "archive")
    fill(state, 5)
    anchoring.beat()
    _made_anew(state, cut)
    if again:
        anchoring = _anchoring(state, clock, key, tmp_path / "archive")
    anchoring.beat()
    assert anchoring.verify().fault == fault
    for _ in range(101):
        fill(state, 1)
        anchoring.beat()
    assert not anchoring.verify().ok
    assert signed_heads.numbers(Folder(tmp_path / "archive")) == [5]
    assert (_value(anchoring, "anchor_failures_total") or 0) > 100


def test_a_new_key_signs_for_the_chain_from_then_on(
    state: Database, clock: Clock, key: Path, tmp_path: Path
) -> None:
    """What the old one signed for does not hinder it."""
    fill(state, 1)
    _anchoring(state, clock, key, tmp_path / "archive").beat()
    fill(state, 1)
    _write_key(key)
    anchoring = _anchoring(state, clock, key, tmp_path / "archive")
    anchoring.beat()
    assert _value(anchoring, "anchored") == 2


def _made_anew(state: Database, cut: int) -> None:
    """All records but the last few, by another actor, with every hash to match."""
    with state.write() as connection:
        triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        for name in connection.scalars(text(triggers)).all():
            connection.execute(text(f"DROP TRIGGER {name}"))
        query = select(records).order_by(records.c.seq)
        found = [dict(row) for row in connection.execute(query).mappings()]
        connection.execute(delete(records))
        previous = GENESIS
        for row in found[: len(found) - cut]:
            row |= {"previous": previous, "actor": "mallory"}
            previous = row["hash"] = hash_of(row)
            connection.execute(insert(records).values(row))
        values = {"seq": len(found) - cut, "hash": previous}
        connection.execute(update(audit_head).values(values))
