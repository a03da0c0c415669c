"""The audit chain and its verification, for rows of a database or of a file; no input or output.

Each record's SHA-256 covers the whole record and the hash of the record before. An attacker who can
write everywhere can forge a whole new chain; a signed head (`actions.audit.signed_heads`) exposes
it.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from actions.canonical_json import canonical

Row = Mapping[str, Any]
GENESIS = "0" * 64
# The event of the record that keeps the hash of the last pruned record.
PRUNED = "audit_pruned"


class ChainFault(StrEnum):
    """The damage that the first invalid record shows."""

    ALTERED = "altered"
    REMOVED = "removed"
    INSERTED = "inserted"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    REWRITTEN = "rewritten"  # the chain is valid, but a signed head belongs to another chain
    HEAD_LOST = "head_lost"


@dataclass(frozen=True)
class Checkpoint:
    """A record's number and its hash."""

    seq: int
    hash: str


BEFORE_FIRST = Checkpoint(0, GENESIS)


@dataclass(frozen=True)
class Verification:
    """The result; `first_bad` is the sequence number of the first invalid record.

    `anchored` is the last record that a signed head covers.
    """

    ok: bool
    records: int
    first_bad: int | None
    fault: ChainFault | None = None
    anchored: int | None = None


@dataclass(kw_only=True)
class Verifier:
    """Verifies one chain, in constant memory.

    `after` is the checkpoint before the first record. `end` is the checkpoint at which the chain
    should end, None for unknown. `heads` has the signed hashes by record number: a record with
    another hash is invalid.
    """

    after: Checkpoint = BEFORE_FIRST
    end: Checkpoint | None = None
    heads: Mapping[int, str] = field(default_factory=dict)
    _records: int = field(default=0, init=False)
    _anchored: int | None = field(default=None, init=False)

    def verify(self, rows: Iterable[Row]) -> Verification:
        """Verify the rows, in the order of their numbers, up to the first invalid record."""
        before, rest, place = self.after, iter(rows), self.after
        signed = self.heads.get(before.seq) == before.hash
        self._anchored = before.seq if signed else None
        # True if no record is missing before the first; a later record may still prove the pruning.
        proven = before.seq == 0 or signed
        for row in rest:
            here = Checkpoint(before.seq + 1, before.hash)
            if not _holds(row, here):
                if row.get("hash") != here.hash and _holds({**row, "seq": place.seq}, place):
                    # The two rows have the same number, and neither follows the other.
                    return self._bad(place.seq, ChainFault.INSERTED)
                return self._bad(here.seq, self._fault(row, here, rest))
            before, place = Checkpoint(here.seq, row["hash"]), here
            self._records += 1
            if self.heads.get(before.seq, before.hash) != before.hash:
                return self._bad((self._anchored or 0) + 1, ChainFault.REWRITTEN)
            if before.seq in self.heads:
                self._anchored = before.seq
            proven = proven or _proves_pruning(row, self.after)
        if not proven and not self._records:
            return self._bad(before.seq + 1, ChainFault.TRUNCATED)
        if not proven:
            return self._bad(1, ChainFault.REMOVED)
        return self._ended(before)

    def _ended(self, last: Checkpoint) -> Verification:
        lost = max((seq for seq in self.heads if seq > last.seq), default=None)
        if lost is not None or (self.end is not None and self.end.seq > last.seq):
            return self._bad(last.seq + 1, ChainFault.TRUNCATED)
        if self.end is not None and self.end.seq < last.seq:
            return self._bad(self.end.seq + 1, ChainFault.INSERTED)
        if self.end is not None and self.end.hash != last.hash:
            return self._bad(last.seq, ChainFault.REWRITTEN)
        return Verification(ok=True, records=self._records, first_bad=None, anchored=self._anchored)

    def _bad(self, seq: int, fault: ChainFault) -> Verification:
        return Verification(
            ok=False, records=self._records, first_bad=seq, fault=fault, anchored=self._anchored
        )

    def _fault(self, row: Row, here: Checkpoint, rest: Iterator[Row]) -> ChainFault:
        """The damage that puts `row` in the place of the expected record."""
        seq, digest = row.get("seq"), row.get("hash")
        linked, twice, elsewhere = self.end is not None and self.end.hash == digest, False, False
        for other in rest:
            linked = linked or other.get("previous") == digest
            twice = twice or other.get("hash") == digest
            elsewhere = elsewhere or _holds({**other, "seq": here.seq}, here)
        if isinstance(seq, int) and seq < here.seq and _whole(row):
            return ChainFault.INSERTED
        if elsewhere:
            copied = twice or digest == here.hash
            later = linked or (_whole(row) and seq != here.seq)
            return ChainFault.REORDERED if later and not copied else ChainFault.INSERTED
        if self.end is not None and self.end.seq < here.seq:
            return ChainFault.INSERTED
        in_place = not row or seq == here.seq or row.get("previous") == here.hash
        return ChainFault.ALTERED if in_place else ChainFault.REMOVED


def hash_of(row: Row) -> str:
    """SHA-256 over all columns of a record but its hash."""
    covered = {key: value for key, value in row.items() if key != "hash"}
    return hashlib.sha256(canonical(covered).encode()).hexdigest()


def _holds(row: Row, here: Checkpoint) -> bool:
    """Whether the row is valid, has the checkpoint's number, and follows the checkpoint's hash."""
    return row.get("seq") == here.seq and row.get("previous") == here.hash and _whole(row)


def _whole(row: Row) -> bool:
    return hash_of(row) == row.get("hash")


def _proves_pruning(row: Row, checkpoint: Checkpoint) -> bool:
    """Whether this record proves that all records up to the checkpoint were pruned."""
    if row.get("event") != PRUNED or checkpoint.seq == 0:
        return False
    try:
        detail = json.loads(row["detail"])
        return (detail["through"], detail["hash"]) == (checkpoint.seq, checkpoint.hash)
    except (ValueError, TypeError, LookupError):
        return False
