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
_KEPT = st.integers(_PRUNED + 1, _RECORDS)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A chain whose first records are in its copy alone; `lines` are the copy's, in three files."""

    state: Database
    folder: FolderArchive
    heads: dict[int, str]
    lines: list[bytes]

    def seen(self, lines: list[bytes]) -> Verification:
        """The copy with these lines, in files as they were; what is more is in the last one."""
        names = self.folder.list_names("records/")
        bounds = [0, *accumulate(_SIZES[:-1]), len(lines)]
        for name, (begin, end) in zip(names, pairwise(bounds), strict=True):
            (self.folder.path / name).write_bytes(b"".join(lines[begin:end]))
        return export.verify(partial(export.read_lines, self.folder), self.heads)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    path = tmp_path_factory.mktemp("kept")
    made, folder, key = (
        database(f"sqlite:///{path}/state.db"),
        FolderArchive(path),
        Ed25519PrivateKey.generate(),
    )
    made.migrate("state")
    at = 100.0
    for added in _ADDED:
        fill(made, added, at)
        last = export.export(made.read, folder, at).last
        signed_heads.sign(folder, key, last, at)
        at += 1000.0
        if last.seq == _PRUNED:
            assert prune.last_prunable(made.read, folder, [key.public_key()], at) == last
            with made.write() as connection:
                prune.prune(connection, last, "alice", at)
    unguarded(made)
    known = dict(signed_heads.read_heads(folder, [key.public_key()]))
    lines = [line + b"\n" for line in export.read_lines(folder)]
    yield Kept(state=made, folder=folder, heads=known, lines=lines)
    made.engine.dispose()


def _bad(found: Verification) -> int | None:
    assert not found.ok
    return found.first_bad


_BYTES = st.integers(0, 255).filter(lambda one: one not in b"\r\n").map(lambda one: bytes([one]))


@_quick
@given(_SEQ, st.integers(0, 999), _BYTES | st.just(b""), st.booleans())
def test_a_changed_byte(kept: Kept, seq: int, at: int, put: bytes, more: bool) -> None:  # noqa: FBT001 drawn
    """One that was replaced, lost or added; also where a part of the copy is all that is there."""
    line = kept.lines[seq - 1]
    at %= len(line) - 1
    changed = line[:at] + put + line[at + (not more) :]
    assume(changed != line)
    lines = [*kept.lines[: seq - 1], changed, *kept.lines[seq:]]
    assert _bad(kept.seen(lines)) == seq
    if seq > _PRUNED:
        part = b"".join(lines[_PRUNED:]).splitlines()
        assert _bad(export.verify(lambda: iter(part), {})) == seq


@_quick
@given(_SEQ, st.integers(1, 4))
def test_lost_lines(kept: Kept, seq: int, count: int) -> None:
    """From any of the files, across their ends as well."""
    assert _bad(kept.seen([*kept.lines[: seq - 1], *kept.lines[seq - 1 + count :]])) == seq


@_quick
@given(st.integers(1, _RECORDS + 1), _SEQ)
def test_a_line_too_many(kept: Kept, seq: int, copied: int) -> None:
    """A copy right before its original is told from it by nothing: the second is too many."""
    lines = [*kept.lines[: seq - 1], kept.lines[copied - 1], *kept.lines[seq - 1 :]]
    assert _bad(kept.seen(lines)) == (seq + 1 if copied == seq else seq)


@_quick
@given(st.lists(_SEQ, min_size=2, max_size=2, unique=True))
def test_swapped_lines(kept: Kept, pair: list[int]) -> None:
    """Of one file or of two."""
    lines, (first, second) = list(kept.lines), sorted(pair)
    lines[first - 1], lines[second - 1] = lines[second - 1], lines[first - 1]
    assert _bad(kept.seen(lines)) == first


@_quick
@given(st.integers(0, 99_999))
def test_an_end_that_was_cut_off(kept: Kept, cut: int) -> None:
    """At any byte."""
    whole = b"".join(kept.lines)
    cut %= len(whole) - 1
    left = sum(end - 1 <= cut for end in accumulate(map(len, kept.lines)))
    assert _bad(kept.seen(whole[:cut].splitlines(keepends=True))) == left + 1


Change = Callable[[Connection], object]


def _after(kept: Kept, change: Change) -> int | None:
    """The first bad record in the database after a change, which is taken back again."""
    with kept.state.engine.connect() as connection, connection.begin() as undone:
        change(connection)
        found = log.verify(connection, kept.heads)
        undone.rollback()
    return _bad(found)


_VALUES: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("actor", "event", "run_id", "detail", "previous", "hash"), st.text()),
    "at": st.floats(allow_nan=False),
    "seq": st.integers(_RECORDS + 1, 2**40),
}


@_quick
@given(st.sampled_from(sorted(_VALUES)), _KEPT, st.data())
def test_a_changed_column(kept: Kept, column: str, seq: int, data: st.DataObject) -> None:
    """Each of them, the number and the time too."""
    value = data.draw(_VALUES[column].filter(lambda one: f"{one}" < "\ud800"))
    with kept.state.read() as connection:
        (row,) = (one for one in log.rows(connection) if one["seq"] == seq)
    assume(row[column] != value)
    change = update(table).where(table.c.seq == seq).values({column: value})
    assert _after(kept, lambda one: one.execute(change)) == seq


@_quick
@given(_KEPT, st.integers(1, _RECORDS))
def test_removed_rows(kept: Kept, seq: int, count: int) -> None:
    """One or several, up to the end as well."""
    change = delete(table).where(table.c.seq.between(seq, seq + count - 1))
    assert _after(kept, lambda one: one.execute(change)) == seq


@_quick
@given(st.lists(_KEPT, min_size=2, max_size=2, unique=True))
def test_swapped_rows(kept: Kept, pair: list[int]) -> None:
    """Two rows that changed numbers."""
    first, second = sorted(pair)

    def change(connection: Connection) -> None:
        for old, new in ((first, 99), (second, first), (99, second)):
            connection.execute(update(table).where(table.c.seq == old).values(seq=new))

    assert _after(kept, change) == first


@_quick
@given(st.integers(_PRUNED + 1, _RECORDS + 1), _KEPT)
def test_a_row_too_many(kept: Kept, seq: int, copied: int) -> None:
    """A copy of another one, with the others moved up to make room."""
    assume(copied != seq)

    def change(connection: Connection) -> None:
        (row,) = (one for one in log.rows(connection) if one["seq"] == copied)
        for old in range(_RECORDS, seq - 1, -1):
            connection.execute(update(table).where(table.c.seq == old).values(seq=old + 1))
        connection.execute(insert(table).values({**row, "seq": seq}))

    assert _after(kept, change) == seq
