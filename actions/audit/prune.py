"""Letting go of old audit records, such that the chain can still be proven."""

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
    """The last record that may go: older than `before` (epoch seconds), exported, and signed for.

    `read` opens a snapshot. None where there is nothing to do. Raises ArchiveError, also where the
    export does not hold.
    """
    with read() as connection:
        gone, old = _old(connection, before)
    most = min(old, export.last_exported(archive).seq)
    signed = [number for number in signed_heads.list_numbers(archive) if gone < number <= most]
    if not signed:
        return None
    link = signed_heads.read_head(archive, keys, signed[-1])
    checked = export.verify(partial(export.read_lines, archive), {link.seq: link.hash})
    if not checked.ok:
        said = f"record {checked.first_bad} does not hold: {checked.fault}"
        raise ArchiveError(f"nothing is pruned, as the export is not whole: {said}")
    mine = select(records.c.hash).where(records.c.seq == link.seq)
    with read() as connection:
        if connection.execute(mine).scalar_one_or_none() != link.hash:
            raise ArchiveError(f"nothing is pruned: record {link.seq} is not what was signed for")
    return link


def _old(connection: Connection, before: float) -> tuple[int, int]:
    """The last record that is gone already, and the last one that is old enough."""
    kept = select(records.c.seq).where(records.c.at >= before).order_by(records.c.seq).limit(1)
    head = connection.execute(select(audit_head)).one()
    first_kept = connection.execute(kept).scalar_one_or_none()
    return head.pruned, head.seq if first_kept is None else first_kept - 1


def prune(connection: Connection, link: Checkpoint, actor: str, now: float) -> int:
    """Remove all up to this record, and carry its hash on; says how many went."""
    locked = select(audit_head).with_for_update()
    connection.execute(locked).one()
    connection.execute(update(audit_head).values(pruned=link.seq))
    gone = connection.execute(delete(records).where(records.c.seq <= link.seq)).rowcount
    detail = {"through": link.seq, "hash": link.hash}
    log.append(connection, now, log.Event(actor=actor, event=PRUNED, detail=detail))
    return gone
