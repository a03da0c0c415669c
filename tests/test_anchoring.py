"""The service signs the head of its audit while it runs, and once more when it stops."""

from http import HTTPStatus
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from actions import audit, aws, heads
from actions.archive import Folder
from receiver.anchoring import Anchoring
from receiver.database import Database
from receiver.metrics import Metrics
from receiver.settings import Settings
from receiver.tokens import Role
from tests.api_fixtures import live
from tests.audit_fixtures import fill
from tests.conftest import Clock


@pytest.fixture
def key(tmp_path: Path) -> Path:
    file = tmp_path / "key.pem"
    made = Ed25519PrivateKey.generate()
    file.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return file


def _anchoring(state: Database, clock: Clock, key: Path, archive: Path) -> Anchoring:
    return Anchoring(
        settings=Settings(audit_key_file=key, audit_archive=str(archive)),
        database=state,
        clients=aws.connect,
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
    for records in (0, 3, 0, 2):
        fill(state, records)
        anchoring.beat()
    archive = Folder(tmp_path / "archive")
    assert heads.numbers(archive) == [3, 5]
    assert anchoring.verify() == audit.Verification(ok=True, records=5, first_bad=None, anchored=5)
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
        (last,) = audit.records(connection, limit=1)
    assert last["event"] == "service_stopped"
    assert heads.numbers(Folder(archive))[-1] == last["seq"]
