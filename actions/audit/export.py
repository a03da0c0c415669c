"""Copies of the audit as JSON Lines, which are verified without the database.

Each export adds the new records, one on each line, in the exact form that is hashed. A file has up
to ten thousand records, has the first and last number in its name, and is never written again.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import Connection

from actions.audit import log
from actions.audit.archive import Archive, ArchiveError
from actions.audit.chain import (
    BEFORE_FIRST,
    GENESIS,
    Checkpoint,
    Row,
    Verification,
    Verifier,
    hash_of,
)
from actions.canonical_json import canonical

_FOLDER = "records/"
_RECORDS_A_FILE = 10_000
Lines = Callable[[], Iterator[bytes]]
Reading = Callable[[], AbstractContextManager[Connection]]


@dataclass(frozen=True)
class Exported:
    """The number of records copied now, and the last record in the archive."""

    records: int
    last: Checkpoint


def export(read: Reading, archive: Archive, now: float) -> Exported:
    """Copy the records that the archive lacks; `read` opens a snapshot, one for each file.

    Raises ArchiveError, also where the chain does not continue the archived one.
    """
    last, records = last_exported(archive), 0
    while chunk := _next(read, last):
        if (chunk[0]["seq"], chunk[0]["previous"]) != (last.seq + 1, last.hash):
            raise ArchiveError(f"record {last.seq + 1} does not follow the last exported record")
        name = f"{_FOLDER}{chunk[0]['seq']:012}-{chunk[-1]['seq']:012}.jsonl"
        data = "".join(canonical(row) + "\n" for row in chunk)
        archive.put(name, data.encode(), now)
        records += len(chunk)
        last = Checkpoint(chunk[-1]["seq"], chunk[-1]["hash"])
    return Exported(records, last)


def _next(read: Reading, last: Checkpoint) -> list[Row]:
    # Closed before the archive is written: a database aborts a transaction that idles.
    with read() as connection:
        return list(islice(log.rows(connection, last.seq), _RECORDS_A_FILE))


def last_exported(archive: Archive) -> Checkpoint:
    """The last record in the archive. Raises ArchiveError."""
    names = archive.list_names(_FOLDER)
    if not names:
        return BEFORE_FIRST
    *_, line = archive.get(names[-1]).splitlines() or [b""]
    row = _row(line)
    if not isinstance(row.get("seq"), int) or not isinstance(row.get("hash"), str):
        raise ArchiveError(f"{names[-1]}: its last line is not a record")
    return Checkpoint(row["seq"], row["hash"])


def read_lines(archive: Archive) -> Iterator[bytes]:
    """Every record, oldest first. Raises ArchiveError."""
    for name in archive.list_names(_FOLDER):
        yield from archive.get(name).splitlines()


def verify(lines: Lines, heads: Mapping[int, str]) -> Verification:
    """Verify a copy. Its lines are read twice, first to find the hash before the first record."""
    return Verifier(after=_before(map(_row, lines())), heads=heads).verify(map(_row, lines()))


def _before(rows: Iterable[Row]) -> Checkpoint:
    """The checkpoint before the lowest number; zero if a row is the first of its chain.

    An invalid row may have any number, so its place in the file is counted instead.
    """
    lowest, broken = 0, 0
    before = GENESIS
    for row in rows:
        if row.get("previous") == GENESIS:
            return BEFORE_FIRST
        seq = row.get("seq")
        if lowest and not (isinstance(seq, int) and seq < lowest):
            continue
        if isinstance(seq, int) and hash_of(row) == row.get("hash"):
            lowest, before = seq, str(row.get("previous"))
        elif not lowest:
            broken += 1
    first = lowest - broken
    return Checkpoint(first - 1, before) if first > 1 else BEFORE_FIRST


def _row(line: bytes) -> Row:
    """A record from its canonical line; any other text gives an empty row, which is invalid."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) and canonical(row).encode() == line else {}
