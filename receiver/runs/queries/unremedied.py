"""The alerts that still fire although their runs have ended without remedy: nobody is on them."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, func, select

from actions.reasons import Reason
from receiver.db.database import Database
from receiver.db.tables import run_search, runs
from receiver.runs.model import IN_FLIGHT, REMEDIED, State
from receiver.webhook.episodes import episodes
from receiver.webhook.inbox import Inbox

_BATCH = 2000
_WITHOUT_REMEDY = frozenset(State) - IN_FLIGHT - REMEDIED
# An alert without a verdict may be a real incident; one that waits for its window is none.
LEFT_ALONE = (Reason.VERDICT_REFUTED, Reason.OUTSIDE_WINDOW)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a storm has in common: the alert's name, its group or target, and the place."""

    alertname: str
    where: str
    account: str
    region: str


@dataclass(frozen=True, kw_only=True)
class Unremedied:
    """The unremedied alerts of one subject.

    `ends` counts their runs by refusal or state. `newest` is the newest run, `target` its target,
    `since` when the first alert began (epoch seconds).
    """

    subject: Subject
    ends: Counter[str]
    newest: str
    target: str | None
    group: str | None
    playbook: str | None
    since: float

    @property
    def count(self) -> int:
        return self.ends.total()


@dataclass(frozen=True, kw_only=True)
class UnremediedAlerts:
    """Reads them; an alert that the inbox's `gap_s` has not repeated no longer fires."""

    database: Database
    inbox: Inbox

    def by_subject(self, now: float, after_s: float = 0.0) -> Sequence[Unremedied]:
        """Those that fire for `after_s` seconds, the latest subject first."""
        found: defaultdict[Subject, list[RowMapping]] = defaultdict(list)
        for run_ids in self._firing(now, after_s):
            with self.database.read() as connection:
                for row in _grouped(connection, run_ids):
                    found[_subject(row)].append(row)
        merged = [_merge(subject, rows) for subject, rows in found.items()]
        return sorted(merged, key=lambda group: group.newest, reverse=True)

    def run_ids(self, now: float, subject: Subject | None = None) -> Sequence[str]:
        """The runs of the alerts, of one subject or of all, oldest first."""
        found: list[str] = []
        columns = (runs.c.id, *_SUBJECT)
        for run_ids in self._firing(now, 0.0):
            with self.database.read() as connection:
                query = _unremedied(run_ids, *columns).order_by(runs.c.id)
                rows = connection.execute(query).mappings()
                found += [row["id"] for row in rows if subject in {None, _subject(row)}]
        return found

    def _firing(self, now: float, after_s: float) -> Iterator[Sequence[str]]:
        fires = (
            episodes.c.ended_at.is_not(None),
            episodes.c.resolved_at.is_(None),
            episodes.c.starts_at <= now - after_s,
            episodes.c.last_seen_at >= now - self.inbox.gap_s,
        )
        query = select(episodes.c.run_id).where(*fires).order_by(episodes.c.run_id).limit(_BATCH)
        after = ""
        while True:
            with self.inbox.database.read() as connection:
                run_ids = connection.scalars(query.where(episodes.c.run_id > after)).all()
            if not run_ids:
                return
            yield run_ids
            after = run_ids[-1]


_SUBJECT = (
    run_search.c.alertname,
    func.coalesce(runs.c.group_name, runs.c.target, "").label("where"),
    func.coalesce(runs.c.account, "").label("account"),
    func.coalesce(runs.c.region, "").label("region"),
)


def _unremedied(run_ids: Sequence[str], *columns: ColumnElement[Any]) -> Select[Any]:
    return (
        select(*columns)
        .join(run_search, run_search.c.run_id == runs.c.id)
        .where(
            runs.c.id.in_(run_ids),
            runs.c.state.in_(_WITHOUT_REMEDY),
            runs.c.acknowledged.is_(None),
            func.coalesce(runs.c.refusal, "").not_in(LEFT_ALONE),
        )
    )


def _grouped(connection: Connection, run_ids: Sequence[str]) -> Sequence[RowMapping]:
    keys = (*_SUBJECT, func.coalesce(runs.c.refusal, runs.c.state).label("end"))
    query = _unremedied(
        run_ids,
        *keys,
        func.count().label("count"),
        func.max(runs.c.id).label("newest"),
        func.min(runs.c.starts_at).label("since"),
        func.max(runs.c.target).label("target"),
        func.max(runs.c.group_name).label("group"),
        func.max(runs.c.playbook).label("playbook"),
    )
    return connection.execute(query.group_by(*keys)).mappings().all()


def _subject(row: RowMapping) -> Subject:
    return Subject(**{name: row[name] for name in ("alertname", "where", "account", "region")})


def _merge(subject: Subject, rows: Sequence[RowMapping]) -> Unremedied:
    ends: Counter[str] = Counter()
    for row in rows:
        ends[row["end"]] += row["count"]
    newest = max(rows, key=lambda row: str(row["newest"]))
    return Unremedied(
        subject=subject,
        ends=ends,
        newest=newest["newest"],
        target=newest["target"],
        group=newest["group"],
        playbook=newest["playbook"],
        since=min(row["since"] for row in rows),
    )
