"""`smartcloudops audit`: whether the record of what happened is whole, copies of it, and its end.

What is bad input is a click exception, which the command line tells in one line.
"""

import getpass
import json
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import click
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.exc import SQLAlchemyError

from actions.assurance import cloudtrail, reconcile
from actions.assurance.cloudtrail import TrailError
from actions.assurance.reconcile import Reconciliation
from actions.audit import export, log, prune, signed_heads
from actions.audit.archive import Archive, ArchiveError, archive_at
from actions.audit.chain import Verification
from actions.aws import clients
from actions.aws.clients import AWS_ERRORS
from actions.execution import ledger
from receiver import settings
from receiver.audit import head_signer
from receiver.cli.durations import Duration
from receiver.db.database import DatabaseUrlError, database, describe_error
from receiver.db.process_lock import AlreadyExportingError, export_lock
from receiver.runtime.rfc3339 import rfc3339
from receiver.settings import Settings, SettingsError

_ARCHIVE = click.option(
    "--to", "where", help="A folder, or s3://bucket/prefix; else SMARTCLOUDOPS_AUDIT_ARCHIVE."
)


@click.group("audit")
def audit_group() -> None:
    """The record of what happened."""


@audit_group.command("verify")
@click.option(
    "--file",
    "copies",
    multiple=True,
    help="A file of an export, its folder, or s3://bucket/prefix, in place of the database; "
    "several are read in this order.",
)
@click.option(
    "--public-key",
    "public_keys",
    multiple=True,
    type=click.Path(path_type=Path),
    help="What signed heads are checked with; else the key of SMARTCLOUDOPS_AUDIT_KEY_FILE.",
)
def audit_verify(copies: Sequence[str], public_keys: Sequence[Path]) -> None:
    """Walk the audit chain and name the first record that does not hold."""
    with told_in_a_line():
        loaded = settings.load()
        checked_with = [
            signed_heads.load_public_key(one) for one in public_keys
        ] or head_signer.public_keys(loaded)
        result = _of_copies(copies, checked_with) if copies else _of_database(loaded, checked_with)
    if not result.ok:
        said = f"record {result.first_bad} does not hold: {result.fault}"
        _fail(f"{said}; {result.records} were read")
    if checked_with and result.anchored is None and result.records:
        _fail(f"{result.records} records, and no signed head speaks for any of them")
    until = (
        "no signed head was asked" if result.anchored is None else f"signed to {result.anchored}"
    )
    click.echo(f"{result.records} records, the chain holds, {until}")


@audit_group.command("export")
@_ARCHIVE
def audit_export(where: str | None) -> None:
    """Copy what is new as JSON Lines, and sign its end where there is a key."""
    with told_in_a_line():
        loaded, now = settings.load(), time.time()
        kept = _archive(loaded, where)
        records = database(loaded.database_url)
        with export_lock(records):
            done = export.export(records.read, kept, now)
        signed = loaded.audit_key_file is not None and done.last.seq > 0
        if loaded.audit_key_file is not None and signed:
            signed_heads.sign(
                kept, signed_heads.load_private_key(loaded.audit_key_file), done.last, now
            )
    said = "and signed for" if signed else "not signed for: there is no key"
    click.echo(f"{done.records} records were copied; {done.last.seq} are there, {said}")


@audit_group.command("prune")
@click.option(
    "--older-than", required=True, type=Duration(), help="How old a record must be, as 400d."
)
@_ARCHIVE
def audit_prune(older_than: float, where: str | None) -> None:
    """Remove old records that were exported and signed for; the chain goes on from them."""
    with told_in_a_line():
        loaded, now = settings.load(), time.time()
        if loaded.audit_key_file is None:
            raise click.UsageError("SMARTCLOUDOPS_AUDIT_KEY_FILE is needed: nothing is signed")
        state, kept = database(loaded.database_url), _archive(loaded, where)
        known = head_signer.public_keys(loaded)
        last = prune.last_prunable(state.read, kept, known, now - older_than)
        if last is None:
            click.echo("nothing is old enough, exported and signed for")
            return
        with state.write() as connection:
            gone = prune.prune(connection, last, getpass.getuser(), now)
    click.echo(f"{gone} records were removed, up to {last.seq}")


@audit_group.command("reconcile")
@click.option("--since", default="24h", show_default=True, type=Duration(), help="As 24h or 7d.")
@click.option(
    "--events",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="CloudTrail's files, or JSON Lines of calls; else CloudTrail itself is asked.",
)
@click.option(
    "--role",
    "roles",
    multiple=True,
    help="ARN of the role, or user, that the service acts with; else whoever made a call that "
    "names a run.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def audit_reconcile(
    *, since: float, files: Sequence[Path], roles: Sequence[str], as_json: bool
) -> None:
    """Compare the ledger with the calls that AWS saw; what only one of them has is a finding."""
    with told_in_a_line():
        loaded, now = settings.load(), time.time()
        found = reconciled(loaded, files, roles, since=now - since, now=now)
    if as_json:
        click.echo(json.dumps(reconciliation_told(found), indent=2))
    else:
        _say(found)
    if found.findings:
        sys.exit(1)


def reconciled(
    loaded: Settings, files: Sequence[Path], roles: Sequence[str], *, since: float, now: float
) -> Reconciliation:
    """Raises TrailError, and the errors of AWS and of the database."""
    if files:
        seen = [one for file in files for one in cloudtrail.read_file(file)]
    else:
        seen = list(cloudtrail.look_up_calls(clients.connect(), since, now))
    with database(loaded.database_url).read() as connection:
        entries = ledger.sent_since(connection, since - reconcile.TOLERANCE_S)
    late = not files or any(one.late for one in seen)
    # What was sent after a file was written cannot be in it.
    until = min(now, max((file.stat().st_mtime for file in files), default=now))
    mine = reconcile.select_own(seen, roles)
    return reconcile.reconcile(entries, mine, since=since, until=until, late=late)


def reconciliation_told(found: Reconciliation) -> dict[str, Any]:
    findings = [
        {**vars(one), "kind": str(one.kind), "at": rfc3339(one.at), "names": list(one.names)}
        for one in found.findings
    ]
    return {"ok": not findings, **vars(found), "findings": findings}


def _say(found: Reconciliation) -> None:
    for one in found.findings:
        run = f" of run {one.run_id}" if one.run_id else ""
        who = f" by {one.who}" if one.who else ""
        said = str(one.kind).replace("_", " ")
        click.echo(
            f"{rfc3339(one.at)} {said}: {one.what}{run}{who}: {', '.join(one.names)}", err=True
        )
    told = f"{found.calls} calls, {found.entries} entries, {len(found.findings)} findings"
    late = f", {found.pending} too young for CloudTrail" if found.pending else ""
    click.echo(told + late)


def _of_database(loaded: Settings, checked_with: Collection[Ed25519PublicKey]) -> Verification:
    found = head_signer.signed_hashes(loaded, clients.connect, checked_with)
    with database(loaded.database_url).read() as connection:
        return log.verify(connection, found)


def _of_copies(copies: Sequence[str], checked_with: Collection[Ed25519PublicKey]) -> Verification:
    found: dict[int, str] = {}
    parts: list[Callable[[], Iterator[bytes]]] = []
    for copy in copies:
        if Path(copy).is_file():
            parts.append(partial(_lines, Path(copy)))
            continue
        if not copy.startswith("s3://") and not Path(copy).is_dir():
            raise click.UsageError(f"{copy}: there is no such file or folder")
        kept = archive_at(copy, clients.connect)
        parts.append(partial(export.read_lines, kept))
        if checked_with:
            found |= signed_heads.read_heads(kept, checked_with)

    def lines() -> Iterator[bytes]:
        for part in parts:
            yield from part()

    return export.verify(lines, found)


def _lines(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        for line in opened:
            yield line.removesuffix(b"\n")


def _archive(loaded: Settings, where: str | None) -> Archive:
    named = where or loaded.audit_archive
    return archive_at(named, clients.connect, lock_days=loaded.audit_lock_days)


@contextmanager
def told_in_a_line() -> Iterator[None]:
    """Errors as the command line tells them: one line, 2 for bad input, 1 for the rest."""
    try:
        yield
    except (SettingsError, DatabaseUrlError, signed_heads.KeyFileError) as error:
        raise click.UsageError(str(error)) from None
    except TrailError as error:
        raise click.UsageError(str(error)) from None
    except (ArchiveError, AlreadyExportingError, OSError) as error:
        _fail(str(error))
    except AWS_ERRORS as error:
        raise click.UsageError(f"AWS cannot be asked: {error}") from None
    except SQLAlchemyError as error:
        _fail(f"the audit cannot be read: {describe_error(error)}")


def _fail(message: str) -> NoReturn:
    click.echo(f"smartcloudops: {message}", err=True)
    sys.exit(1)
