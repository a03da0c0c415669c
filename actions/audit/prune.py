"""Removes old audit records so that the chain can still be verified."""

from collections.abc import Collection
from functools import partial

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import Connection, delete, select, update

from actions.audit import export, log, signed_heads
from actions.audit.archive import Archive, ArchiveError
from actions.audit.chain import PRUNED, Checkpoint
from actions.audit.export import Reading
from actions.tables import audit as records
from actions.tables import audit_head


def last_prunable(
    read: Reading,
    archive: Archive,
    keys: Collection[Ed25519PublicKey],
    before: float,
) -> Checkpoint | None:
    """The last record that may be removed: older than `before`, exported, and under a signed head.

    `read` opens a snapshot; `before` is in epoch seconds. None where no record may be removed.
    Raises ArchiveError, also where the export is invalid.
    """
    with read() as connection:
        pruned, old = _old(connection, before)
    last = min(old, export.last_exported(archive).seq)
    signed = [number for number in signed_heads.list_numbers(archive) if pruned < number <= last]
    if not signed:
        return None
    checkpoint = signed_heads.read_head(archive, keys, signed[-1])
    verification = export.verify(
        partial(export.read_lines, archive), {checkpoint.seq: checkpoint.hash}
    )
    if not verification.ok:
        why = f"record {verification.first_bad} is invalid ({verification.fault})"
        raise ArchiveError(f"nothing was pruned: verifying the export failed: {why}")
    query = select(records.c.hash).where(records.c.seq == checkpoint.seq)
    with read() as connection:
        if connection.execute(query).scalar_one_or_none() != checkpoint.hash:
            raise ArchiveError(
                f"nothing was pruned: record {checkpoint.seq} differs from its signed head"
            )
    return checkpoint


def _old(connection: Connection, before: float) -> tuple[int, int]:
    """The last record already pruned, and the last record that is old enough."""
    recent = select(records.c.seq).where(records.c.at >= before).order_by(records.c.seq).limit(1)
    head = connection.execute(select(audit_head)).one()
    first_kept = connection.execute(recent).scalar_one_or_none()
    return head.pruned, head.seq if first_kept is None else first_kept - 1


def prune(connection: Connection, last: Checkpoint, actor: str, now: float) -> int:
    """Remove all records up to `last`, and record its hash. Returns the number removed."""
    connection.execute(select(audit_head).with_for_update()).one()
    connection.execute(update(audit_head).values(pruned=last.seq))
    removed = connection.execute(delete(records).where(records.c.seq <= last.seq)).rowcount
    detail = {"through": last.seq, "hash": last.hash}
    log.append(connection, now, log.Event(actor=actor, event=PRUNED, detail=detail))
    return removed
