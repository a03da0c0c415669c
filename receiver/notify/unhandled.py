"""Reports to people the alerts that still fire although their runs ended without remedy."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection, func, select

from actions.reasons import Reason
from receiver.db.database import Database
from receiver.db.tables import runs
from receiver.notify import outbox
from receiver.notify.messages import Message, MessageKind
from receiver.notify.metrics import NotifyMetrics
from receiver.runs.model import IN_FLIGHT, REMEDIED, State
from receiver.runtime.periodic import Periodic
from receiver.webhook.episodes import episodes
from receiver.webhook.inbox import Inbox

_logger = structlog.get_logger()
_EVERY_S = 10.0
_BATCH = 500
# People are reminded as often as Alertmanager reminds them by default.
_AGAIN_S = 4 * 3600.0
# A longer name may be a text that its sender wants people to read.
_NAME_MAX = 100
_REASONS_MOST = 3
_WITHOUT_REMEDY = frozenset(State) - IN_FLIGHT - REMEDIED


@dataclass(frozen=True, kw_only=True)
class _Run:
    """One run; `where` is the alert's group or target, `end` the run's refusal or state."""

    id: str
    alertname: str
    where: str
    end: str


@dataclass(kw_only=True)
class UnhandledAlerts:
    """Stores one message for each alert name and group that was unhandled for `after_s` seconds."""

    database: Database
    inbox: Inbox
    after_s: float
    public_url: str | None
    metrics: NotifyMetrics
    clock: Callable[[], float]
    _periodic: Periodic = field(init=False)

    def __post_init__(self) -> None:
        every_s = min(_EVERY_S, self.after_s)
        self._periodic = Periodic("unhandled", every_s, self.run_once)

    def start(self) -> None:
        self._periodic.start()

    def stop(self) -> None:
        self._periodic.stop()

    def run_once(self) -> None:
        """Report the unhandled alerts; a failure is logged, and the next interval tries again."""
        try:
            self.report()
        except Exception:
            _logger.exception("unhandled_report_failed")

    def report(self) -> None:
        now = self.clock()
        by_subject: defaultdict[tuple[str, str], list[_Run]] = defaultdict(list)
        for run in self._unremedied(now):
            by_subject[run.alertname, run.where].append(run)
        with self.database.write() as connection:
            outbox.prune(connection, now)
            for subject, unremedied in by_subject.items():
                message = _message(*subject, unremedied, self.public_url)
                if not outbox.is_repeat(connection, message, now - _AGAIN_S):
                    outbox.add(connection, message, now)
                    self.metrics.unhandled.inc(len(unremedied))
                    _logger.warning("alerts_unhandled", title=message.title, count=len(unremedied))

    def _unremedied(self, now: float) -> Sequence[_Run]:
        fires = (
            episodes.c.ended_at.is_not(None),
            episodes.c.resolved_at.is_(None),
            episodes.c.starts_at <= now - self.after_s,
            episodes.c.last_seen_at >= now - self.inbox.gap_s,
        )
        query = select(episodes.c.run_id).where(*fires).order_by(episodes.c.run_id).limit(_BATCH)
        unremedied: list[_Run] = []
        after = ""
        while True:
            with self.inbox.database.read() as connection:
                run_ids = connection.scalars(query.where(episodes.c.run_id > after)).all()
            if not run_ids:
                return unremedied
            with self.database.read() as connection:
                unremedied += _without_remedy(connection, run_ids)
            after = run_ids[-1]


def _without_remedy(connection: Connection, run_ids: Sequence[str]) -> Iterator[_Run]:
    columns = (runs.c.id, runs.c.labels, runs.c.state, runs.c.refusal)
    named = (runs.c.group_name, runs.c.target, runs.c.account, runs.c.region)
    query = select(*columns, *named).where(
        runs.c.id.in_(run_ids),
        runs.c.state.in_(_WITHOUT_REMEDY),
        runs.c.acknowledged.is_(None),
        # An alert without a verdict may be a real incident; one that waits for its window is none.
        func.coalesce(runs.c.refusal, "").not_in((Reason.VERDICT_REFUTED, Reason.OUTSIDE_WINDOW)),
    )
    for row in connection.execute(query.order_by(runs.c.id)):
        yield _Run(
            id=row.id,
            alertname=row.labels.get("alertname", ""),
            where=(row.group_name or row.target or "")
            + (f" of {row.account}/{row.region}" if row.account else ""),
            end=row.refusal or row.state,
        )


def _message(
    alertname: str, where: str, unremedied: Sequence[_Run], public_url: str | None
) -> Message:
    is_name = alertname.isascii() and alertname.isidentifier() and len(alertname) <= _NAME_MAX
    name = alertname if is_name else "an alert"
    ends = Counter(run.end for run in unremedied).most_common(_REASONS_MOST)
    reasons = ", ".join(f"{end} {count}" for end, count in ends)
    newest = unremedied[-1].id
    count = f"{len(unremedied)} firing, and no step is under way: {reasons}"
    lines = [count, f"Newest run {newest}"]
    if public_url is not None:
        lines.append(f"{public_url.rstrip('/')}/runs/{newest}")
    return Message(
        kind=MessageKind.UNHANDLED,
        title=f"Unhandled: {name} in {where or 'no group'}",
        text="\n".join(lines),
        same_as=(MessageKind.UNHANDLED, alertname, where),
    )
