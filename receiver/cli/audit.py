"""`smartcloudops audit`: verifies, exports, prunes and reconciles the audit log."""

import getpass
import json
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.exc import SQLAlchemyError

from actions.audit import export, log, prune, signed_heads
from actions.audit.acceptance import current_part
from actions.audit.archive import Archive, archive_at
from actions.audit.chain import Verification
from actions.aws import clients
from actions.execution import kill_switch
from receiver import settings
from receiver.audit import head_signer
from receiver.audit.cloudtrail_check import distrust_findings
from receiver.audit.continuity import Continuity
from receiver.cli.durations import Duration
from receiver.cli.error_translation import translate_errors
from receiver.cli.errors import BadInputError, FailedError, FindingsError
from receiver.cli.output import echo
from receiver.cli.reconciliation import finding_line, reconcile_ledger, reconciliation_json
from receiver.db.database import Database, database
from receiver.db.process_lock import export_lock
from receiver.settings import Settings

_ARCHIVE = click.option(
    "--to", "where", help="A folder, or s3://bucket/prefix; else SMARTCLOUDOPS_AUDIT_ARCHIVE."
)


@click.group("audit")
def audit_group() -> None:
    """Verify, export and prune the audit; compare the ledger with CloudTrail."""


@audit_group.command("verify")
@click.option(
    "--file",
    "copies",
    multiple=True,
    help="A file of an export, its folder, or s3://bucket/prefix, instead of the database; "
    "several are read in the given order.",
)
@click.option(
    "--public-key",
    "public_keys",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Public key that checks signed heads; default: SMARTCLOUDOPS_AUDIT_KEY_FILE's.",
)
def audit_verify(copies: Sequence[str], public_keys: Sequence[Path]) -> None:
    """Verify the audit chain, and name the first record that fails."""
    with translate_errors():
        loaded = settings.load()
        keys = [signed_heads.load_public_key(file) for file in public_keys]
        keys = keys or [*head_signer.public_keys(loaded)]
        result = _verify_copies(copies, keys) if copies else _verify_database(loaded, keys)
    if not result.ok:
        failure = f"record {result.first_bad} fails verification: {result.fault}"
        if not copies:
            _distrust(loaded, f"audit record {result.first_bad} is {result.fault}")
        raise FailedError(f"{failure}; {result.records} records were read")
    if keys and result.anchored is None and result.records:
        raise FailedError(f"{result.records} records, and no signed head covers any of them")
    signed = (
        "no signed head was checked" if result.anchored is None else f"signed to {result.anchored}"
    )
    echo(f"{result.records} records, the chain is intact, {signed}")


@audit_group.command("accept")
@click.option("--comment", required=True, help="Why the records are right, for the audit.")
def audit_accept(comment: str) -> None:
    """Accept distrusted records as they are, and resume the service, which paused for them."""
    with translate_errors():
        loaded = settings.load()
        continuity = Continuity(
            settings=loaded,
            database=database(loaded.database_url),
            clients=clients.connect,
            clock=time.time,
        )
        with continuity.database.read() as connection:
            why = kill_switch.why_distrusted(connection)
        if why is None:
            echo("nothing to accept: no records are distrusted")
            return
        continuity.resume(by=getpass.getuser(), comment=comment)
    echo(f"the records are accepted and the service resumes; the pause was for: {why}")


@audit_group.command("export")
@_ARCHIVE
def audit_export(where: str | None) -> None:
    """Copy new records as JSON Lines, and sign the last one if a key is set."""
    with translate_errors():
        loaded, now = settings.load(), time.time()
        target = _archive(loaded, where)
        state = database(loaded.database_url)
        with export_lock(state):
            _sync(state)
            exported = export.export(state.read, target, now)
        last = exported.last
        signed = loaded.audit_key_file is not None and last.seq > 0
        if loaded.audit_key_file is not None and signed:
            key = signed_heads.load_private_key(loaded.audit_key_file)
            signed_heads.sign(target, key, last, now)
    signature = "signed" if signed else "not signed: there is no key"
    echo(f"{exported.records} records copied; the export has {last.seq}, {signature}")


@audit_group.command("prune")
@click.option(
    "--older-than",
    required=True,
    type=Duration(),
    help="Minimum age of a removed record, such as 400d.",
)
@_ARCHIVE
def audit_prune(older_than: float, where: str | None) -> None:
    """Remove old records that are exported and signed; the chain continues after them."""
    with translate_errors():
        loaded, now = settings.load(), time.time()
        if loaded.audit_key_file is None:
            raise BadInputError("set SMARTCLOUDOPS_AUDIT_KEY_FILE: only signed records are pruned")
        state, source = database(loaded.database_url), _archive(loaded, where)
        keys = head_signer.public_keys(loaded)
        last = prune.last_prunable(state.read, source, keys, now - older_than)
        if last is None:
            echo("no record is old enough, exported and signed")
            return
        with state.write() as connection:
            removed = prune.prune(connection, last, getpass.getuser(), now)
    echo(f"{removed} records removed, up to {last.seq}")


@audit_group.command("reconcile")
@click.option(
    "--since",
    default="24h",
    show_default=True,
    type=Duration(),
    help="Length of the period, such as 24h or 7d.",
)
@click.option(
    "--events",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="CloudTrail's files, or JSON Lines of calls; default: query CloudTrail.",
)
@click.option(
    "--role",
    "roles",
    multiple=True,
    help="ARN of the service's role or user; default: every caller whose session names a run.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def audit_reconcile(
    *, since: float, files: Sequence[Path], roles: Sequence[str], as_json: bool
) -> None:
    """Compare the ledger with CloudTrail; a difference is a finding."""
    with translate_errors():
        loaded, now = settings.load(), time.time()
        result = reconcile_ledger(loaded, files, roles, since=now - since, now=now)
        if not files:
            distrust_findings(database(loaded.database_url), result.findings, now)
    if as_json:
        echo(json.dumps(reconciliation_json(result), indent=2))
    else:
        late = f", {result.pending} entries too recent for CloudTrail" if result.pending else ""
        counts = f"{result.calls} calls, {result.entries} entries, {len(result.findings)} findings"
        echo(counts + late)
    if result.findings:
        raise FindingsError(() if as_json else map(finding_line, result.findings))


def _sync(state: Database) -> None:
    """Put on disk what is exported, if this user may write to the database.

    Otherwise a loss of power could undo it, and the chain would lack exported records.
    """
    with suppress(SQLAlchemyError), state.write() as connection:
        log.sync(connection)


def _distrust(loaded: Settings, why: str) -> None:
    """Pause the service, if this user may write to its database."""
    with suppress(SQLAlchemyError), database(loaded.database_url).write() as connection:
        kill_switch.distrust(connection, why, time.time(), everything=True)


def _verify_database(loaded: Settings, keys: Collection[Ed25519PublicKey]) -> Verification:
    heads = head_signer.signed_hashes(loaded, clients.connect, keys)
    with database(loaded.database_url).read() as connection:
        return log.verify(connection, heads)


def _verify_copies(copies: Sequence[str], keys: Collection[Ed25519PublicKey]) -> Verification:
    heads: dict[int, str] = {}
    parts: list[Callable[[], Iterator[bytes]]] = []
    for copy in copies:
        if Path(copy).is_file():
            parts.append(partial(_lines, Path(copy)))
            continue
        if not copy.startswith("s3://") and not Path(copy).is_dir():
            raise BadInputError(f"{copy}: there is no such file or folder")
        source = current_part(archive_at(copy, clients.connect), keys)
        parts.append(partial(export.read_lines, source))
        if keys:
            heads |= signed_heads.read_heads(source, keys)

    def lines() -> Iterator[bytes]:
        for part in parts:
            yield from part()

    return export.verify(lines, heads)


def _lines(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        for line in opened:
            yield line.removesuffix(b"\n")


def _archive(loaded: Settings, where: str | None) -> Archive:
    archive = archive_at(
        where or loaded.audit_archive, clients.connect, lock_days=loaded.audit_lock_days
    )
    return current_part(archive)
