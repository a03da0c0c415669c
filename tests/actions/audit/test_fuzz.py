"""Wherever the audit is changed, in the database or in its copy, the first wrong record is named.

The chain here is one that was exported in several files, signed for, and pruned on the way.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, insert, update

from actions.audit import export, log, prune, signed_heads
from actions.audit.archive import FolderArchive
from actions.audit.chain import Verification
from actions.tables import audit as table
from receiver.db.database import Database, database
from tests.actions.audit.audit_fixtures import fill, unguarded

# What was added each time, and what was exported: the pruning is a record of its own.
_ADDED, _SIZES = (8, 6, 6), (8, 7, 6)
_PRUNED, _RECORDS = _SIZES[0], sum(_SIZES)
_quick = settings(deadline=None)
_SEQ = st.integers(1, _RECORDS)
_UNPRUNED = st.integers(_PRUNED + 1, _RECORDS)


@dataclass(frozen=True, kw_only=True)
class ExportedChain:
    """A chain whose first records are in its copy alone; `lines` are the copy's, in three files."""

    state: Database
    folder: FolderArchive
    heads: dict[int, str]
    lines: list[bytes]

    def verify(self, lines: list[bytes]) -> Verification:
        """The copy with these lines, in files as they were; what is more is in the last one."""
        names = self.folder.list_names("records/")
        bounds = [0, *accumulate(_SIZES[:-1]), len(lines)]
        for name, (begin, end) in zip(names, pairwise(bounds), strict=True):
            (self.folder.path / name).write_bytes(b"".join(lines[begin:end]))
        return export.verify(partial(export.read_lines, self.folder), self.heads)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ExportedChain]:
    path = tmp_path_factory.mktemp("exported")
    state, folder, key = (
        database(f"sqlite:///{path}/state.db"),
        FolderArchive(path),
        Ed25519PrivateKey.generate(),
    )
    state.migrate("state")
    at = 100.0
    for added in _ADDED:
        fill(state, added, at)
        last = export.export(state.read, folder, at).last
        signed_heads.sign(folder, key, last, at)
        at += 1000.0
        if last.seq == _PRUNED:
            assert prune.last_prunable(state.read, folder, [key.public_key()], at) == last
            with state.write() as connection:
                prune.prune(connection, last, "alice", at)
    unguarded(state)
    heads = dict(signed_heads.read_heads(folder, [key.public_key()]))
    lines = [line + b"\n" for line in export.read_lines(folder)]
    yield ExportedChain(state=state, folder=folder, heads=heads, lines=lines)
    state.engine.dispose()


def _bad(verification: Verification) -> int | None:
    assert not verification.ok
    return verification.first_bad


_BYTES = (
    st.integers(0, 255).filter(lambda byte: byte not in b"\r\n").map(lambda byte: bytes([byte]))
)


@_quick
@given(seq=_SEQ, at=st.integers(0, 999), put=_BYTES | st.just(b""), more=st.booleans())
def test_a_changed_byte(
    exported: ExportedChain, seq: int, at: int, put: bytes, *, more: bool
) -> None:
    """One that was replaced, lost or added; also where a part of the copy is all that is there."""
    line = exported.lines[seq - 1]
    at %= len(line) - 1
    changed = line[:at] + put + line[at + (not more) :]
    assume(changed != line)
    lines = [*exported.lines[: seq - 1], changed, *exported.lines[seq:]]
    assert _bad(exported.verify(lines)) == seq
    if seq > _PRUNED:
        part = b"".join(lines[_PRUNED:]).splitlines()
        assert _bad(export.verify(lambda: iter(part), {})) == seq


@_quick
@given(_SEQ, st.integers(1, 4))
def test_lost_lines(exported: ExportedChain, seq: int, count: int) -> None:
    """From any of the files, across their ends as well."""
    assert (
        _bad(exported.verify([*exported.lines[: seq - 1], *exported.lines[seq - 1 + count :]]))
        == seq
    )


@_quick
@given(st.integers(1, _RECORDS + 1), _SEQ)
def test_a_line_too_many(exported: ExportedChain, seq: int, copied: int) -> None:
    """A copy right before its original is told from it by nothing: the second is too many."""
    lines = [*exported.lines[: seq - 1], exported.lines[copied - 1], *exported.lines[seq - 1 :]]
    assert _bad(exported.verify(lines)) == (seq + 1 if copied == seq else seq)


@_quick
@given(st.lists(_SEQ, min_size=2, max_size=2, unique=True))
def test_swapped_lines(exported: ExportedChain, pair: list[int]) -> None:
    """Of one file or of two."""
    lines, (first, second) = list(exported.lines), sorted(pair)
    lines[first - 1], lines[second - 1] = lines[second - 1], lines[first - 1]
    assert _bad(exported.verify(lines)) == first


@_quick
@given(st.integers(0, 99_999))
def test_an_end_that_was_cut_off(exported: ExportedChain, cut: int) -> None:
    """At any byte."""
    whole = b"".join(exported.lines)
    cut %= len(whole) - 1
    left = sum(end - 1 <= cut for end in accumulate(map(len, exported.lines)))
    assert _bad(exported.verify(whole[:cut].splitlines(keepends=True))) == left + 1


Change = Callable[[Connection], object]


def _after(exported: ExportedChain, change: Change) -> int | None:
    """The first bad record in the database after a change, which is rolled back."""
    with exported.state.engine.connect() as connection, connection.begin() as transaction:
        change(connection)
        verification = log.verify(connection, exported.heads)
        transaction.rollback()
    return _bad(verification)


_VALUES: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("actor", "event", "run_id", "detail", "previous", "hash"), st.text()),
    "at": st.floats(allow_nan=False),
    "seq": st.integers(_RECORDS + 1, 2**40),
}


@_quick
@given(st.sampled_from(sorted(_VALUES)), _UNPRUNED, st.data())
def test_a_changed_column(
    exported: ExportedChain, column: str, seq: int, data: st.DataObject
) -> None:
    """Each of them, the number and the time too."""
    value = data.draw(_VALUES[column].filter(lambda drawn: f"{drawn}" < "\ud800"))
    with exported.state.read() as connection:
        (row,) = (record for record in log.rows(connection) if record["seq"] == seq)
    assume(row[column] != value)
    change = update(table).where(table.c.seq == seq).values({column: value})
    assert _after(exported, lambda connection: connection.execute(change)) == seq


@_quick
@given(_UNPRUNED, st.integers(1, _RECORDS))
def test_removed_rows(exported: ExportedChain, seq: int, count: int) -> None:
    """One or several, up to the end as well."""
    change = delete(table).where(table.c.seq.between(seq, seq + count - 1))
    assert _after(exported, lambda connection: connection.execute(change)) == seq


@_quick
@given(st.lists(_UNPRUNED, min_size=2, max_size=2, unique=True))
def test_swapped_rows(exported: ExportedChain, pair: list[int]) -> None:
    """Two rows that changed numbers."""
    first, second = sorted(pair)

    def change(connection: Connection) -> None:
        for old, new in ((first, 99), (second, first), (99, second)):
            connection.execute(update(table).where(table.c.seq == old).values(seq=new))

    assert _after(exported, change) == first


@_quick
@given(st.integers(_PRUNED + 1, _RECORDS + 1), _UNPRUNED)
def test_a_row_too_many(exported: ExportedChain, seq: int, copied: int) -> None:
    """A copy of another one, with the others moved up to make room."""
    assume(copied != seq)

    def change(connection: Connection) -> None:
        (row,) = (record for record in log.rows(connection) if record["seq"] == copied)
        for old in range(_RECORDS, seq - 1, -1):
            connection.execute(update(table).where(table.c.seq == old).values(seq=old + 1))
        connection.execute(insert(table).values({**row, "seq": seq}))

    assert _after(exported, change) == seq
