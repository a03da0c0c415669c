"""Signed heads, exports and retention: what is proven without, and against, the database."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from moto import mock_aws
from sqlalchemy import delete, update

from actions.audit import export, log, prune, signed_heads
from actions.audit.archive import Archive, ArchiveError, FolderArchive, archive_at
from actions.audit.chain import ChainFault, Checkpoint
from actions.aws import clients
from actions.tables import audit as table
from actions.tables import audit_head
from receiver.cli.main import main
from receiver.db.database import Database
from receiver.db.process_lock import AlreadyExportingError, export_lock
from tests.actions.audit.audit_fixtures import fill, unguarded

_NOW = 1_800_000_000.0
_BUCKET = "audit-archive"


@pytest.fixture
def copies(tmp_path: Path) -> FolderArchive:
    return FolderArchive(tmp_path / "archive")


@pytest.fixture
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture
def keys(key: Ed25519PrivateKey) -> list[Ed25519PublicKey]:
    return [key.public_key()]


def _export(state: Database, copies: Archive) -> export.Exported:
    return export.export(state.read, copies, _NOW)


def _sign(state: Database, copies: Archive, key: Ed25519PrivateKey) -> None:
    with state.read() as connection:
        row = list(log.rows(connection))[-1]
    signed_heads.sign(copies, key, Checkpoint(row["seq"], row["hash"]), _NOW)


def _lines(copies: Archive) -> partial[Iterator[bytes]]:
    return partial(export.read_lines, copies)


def test_an_export_goes_on_where_it_ended(state: Database, copies: FolderArchive) -> None:
    """Nothing twice, nothing left out, in files that are not written again."""
    fill(state, 5)
    assert _export(state, copies).records == 5
    assert _export(state, copies).records == 0
    fill(state, 3)
    assert _export(state, copies).records == 3
    assert len(copies.list_names("records/")) == 2
    verification = export.verify(_lines(copies), {})
    assert (verification.ok, verification.records) == (True, 8)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_two_exports_at_once_are_one(request: pytest.FixtureRequest, kind: str) -> None:
    """Their files would overlap; the second one is told so, and may come again."""
    state: Database = request.getfixturevalue({"sqlite": "state", "postgresql": "empty"}[kind])
    with export_lock(state), pytest.raises(AlreadyExportingError), export_lock(state):
        pytest.fail("both export")
    with export_lock(state):
        pass


def test_an_export_does_not_go_on_from_another_chain(
    state: Database, copies: FolderArchive
) -> None:
    """What is in the archive is no start for a chain that was made anew."""
    fill(state, 5)
    _export(state, copies)
    fill(state, 1)
    unguarded(state)
    with state.write() as connection:
        changed = update(table).where(table.c.seq == 6)
        connection.execute(changed.values(previous="f" * 64))
    with pytest.raises(ArchiveError, match="record 6"):
        _export(state, copies)


def test_a_changed_byte_of_an_export_is_named(state: Database, copies: FolderArchive) -> None:
    """Also one that JSON does not mind."""
    fill(state, 5)
    _export(state, copies)
    (name,) = copies.list_names("records/")
    text = (copies.path / name).read_text()
    third = text.splitlines()[2]
    for changed in (
        third.replace("alice", "mallo"),
        third + " ",
        '{"actor":"x",' + third[1:],
        "{",
        "[" * 99_999,
    ):
        (copies.path / name).write_text(text.replace(third, changed))
        verification = export.verify(_lines(copies), {})
        assert (verification.first_bad, verification.fault) == (3, ChainFault.ALTERED)


def test_a_signed_head_tells_of_an_end_that_was_cut_off(
    state: Database, copies: FolderArchive, key: Ed25519PrivateKey, keys: list[Ed25519PublicKey]
) -> None:
    """Even where the database's own head was set back with it."""
    fill(state, 5)
    _sign(state, copies, key)
    unguarded(state)
    with state.write() as connection:
        last = connection.execute(table.select().where(table.c.seq == 3)).one()
        connection.execute(delete(table).where(table.c.seq > 3))
        connection.execute(update(audit_head).values(seq=3, hash=last.hash))
    with state.read() as connection:
        assert log.verify(connection).ok
        verification = log.verify(connection, signed_heads.read_heads(copies, keys))
    assert (verification.first_bad, verification.fault) == (4, ChainFault.TRUNCATED)


def test_a_head_that_somebody_else_signed_is_refused(
    state: Database, copies: FolderArchive, keys: list[Ed25519PublicKey]
) -> None:
    """And one whose text was changed afterwards."""
    fill(state, 2)
    _sign(state, copies, Ed25519PrivateKey.generate())
    with pytest.raises(ArchiveError, match="no given key signed"):
        signed_heads.read_heads(copies, keys)
    (name,) = copies.list_names("heads/")
    (copies.path / name).write_text("[]")
    with pytest.raises(ArchiveError, match="not a signed head"):
        signed_heads.read_heads(copies, keys)


def test_only_what_was_exported_and_signed_for_is_pruned(
    state: Database, copies: FolderArchive, key: Ed25519PrivateKey, keys: list[Ed25519PublicKey]
) -> None:
    """And the chain still holds afterwards, in the database and in the archive."""
    fill(state, 4, at=100.0)
    fill(state, 4, at=1000.0)
    assert prune.last_prunable(state.read, copies, keys, 500.0) is None
    _export(state, copies)
    assert prune.last_prunable(state.read, copies, keys, 500.0) is None
    with state.read() as connection:
        fourth = list(log.rows(connection))[3]
    signed_heads.sign(copies, key, Checkpoint(4, fourth["hash"]), _NOW)
    _sign(state, copies, key)
    last = prune.last_prunable(state.read, copies, keys, 500.0)
    assert last == Checkpoint(4, fourth["hash"])
    with state.write() as connection:
        assert prune.prune(connection, last, "alice", _NOW) == 4
    with state.read() as connection:
        verification = log.verify(connection)
        assert (verification.ok, verification.records) == (True, 5)
    assert prune.last_prunable(state.read, copies, keys, 500.0) is None
    _export(state, copies)
    assert export.verify(_lines(copies), {}).records == 9


def test_nothing_is_pruned_whose_copy_was_changed(
    state: Database, copies: FolderArchive, key: Ed25519PrivateKey, keys: list[Ed25519PublicKey]
) -> None:
    """The copy is all that would be left."""
    fill(state, 4)
    _export(state, copies)
    _sign(state, copies, key)
    (name,) = copies.list_names("records/")
    text = (copies.path / name).read_text()
    (copies.path / name).write_text(text.replace("alice", "mallo", 1))
    with pytest.raises(ArchiveError, match="record 1"):
        prune.last_prunable(state.read, copies, keys, _NOW)


def test_a_bucket_with_object_lock_keeps_what_it_was_given(
    state: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies and heads are there to be read, and nobody may remove them before their time."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket=_BUCKET, ObjectLockEnabledForBucket=True)
        copies = archive_at(f"s3://{_BUCKET}/prod", clients.connect, lock_days=3650)
        fill(state, 5)
        _export(state, copies)
        assert export.verify(_lines(copies), {}).records == 5
        (version,) = s3.list_object_versions(Bucket=_BUCKET)["Versions"]
        assert version["Key"].startswith("prod/records/")
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.delete_object(Bucket=_BUCKET, Key=version["Key"], VersionId=version["VersionId"])
        copies.put(version["Key"].removeprefix("prod/"), b"another", _NOW)
        assert len(s3.list_object_versions(Bucket=_BUCKET)["Versions"]) == 1
        assert export.verify(_lines(copies), {}).records == 5
        with pytest.raises(ArchiveError, match="NoSuchBucket"):
            archive_at("s3://nowhere", clients.connect).list_names("records/")


def _pem(folder: Path, key: Ed25519PrivateKey) -> tuple[Path, Path]:
    private, public = folder / "key.pem", folder / "public.pem"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return private, public


def _ran(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    status: object = 0
    try:
        main(["audit", *arguments])
    except SystemExit as ended:
        status = ended.code or 0
    output = capsys.readouterr()
    assert isinstance(status, int)
    return status, output.err or output.out


def test_from_the_command_line(
    state: Database,
    tmp_path: Path,
    key: Ed25519PrivateKey,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Export, verify with and without the database, prune, and find what was cut off."""
    private, public = _pem(tmp_path, key)
    monkeypatch.setenv("SMARTCLOUDOPS_DATABASE_URL", str(state.engine.url))
    monkeypatch.setenv("SMARTCLOUDOPS_AUDIT_KEY_FILE", str(private))
    monkeypatch.setenv("SMARTCLOUDOPS_AUDIT_ARCHIVE", str(tmp_path / "archive"))
    fill(state, 6)
    assert _ran(capsys, "verify") == (
        1,
        "smartcloudops: 6 records, and no signed head covers any of them\n",
    )
    assert _ran(capsys, "export")[0] == 0
    assert _ran(capsys, "verify") == (0, "6 records, the chain is intact, signed to 6\n")
    offline = ("verify", "--file", str(tmp_path / "archive"), "--public-key", str(public))
    assert _ran(capsys, *offline) == (0, "6 records, the chain is intact, signed to 6\n")
    assert _ran(capsys, "prune", "--older-than", "1d") == (0, "6 records removed, up to 6\n")
    assert _ran(capsys, "verify")[0] == 0
    (file,) = (tmp_path / "archive" / "records").iterdir()
    lines = file.read_bytes().splitlines(keepends=True)
    first, second = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    first.write_bytes(b"".join(lines[:2]))
    second.write_bytes(b"".join(lines[2:]))
    monkeypatch.delenv("SMARTCLOUDOPS_AUDIT_KEY_FILE")
    both = ("verify", "--file", str(first), "--file", str(second))
    assert _ran(capsys, *both) == (
        0,
        "6 records, the chain is intact, no signed head was checked\n",
    )
    assert _ran(capsys, "verify", "--file", str(second))[0] == 1
    file.write_bytes(b"".join(lines[:4]))
    status, text = _ran(capsys, *offline)
    assert (status, text) == (
        1,
        "smartcloudops: record 5 fails verification: truncated; 4 records were read\n",
    )
    assert _ran(capsys, "verify", "--file", str(tmp_path / "none"))[0] == 2
