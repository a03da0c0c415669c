"""Follows the audit: which runs are one incident, what happened, and when it is over."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from actions.catalog.ssm.capture import Capture
from receiver.audit.tail import Record
from receiver.db.database import Database
from receiver.db.tables import runs
from receiver.incidents import records
from receiver.incidents.records import Incident
from receiver.runs import store
from receiver.runs.model import IN_FLIGHT, REMEDIED, Run
from receiver.runs.queries.unremedied import UnremediedAlerts
from receiver.runtime.redaction import plain
from receiver.runtime.rfc3339 import DAY_S
from receiver.webhook.episodes import episodes
from receiver.webhook.inbox import Inbox

# A record of these opens an incident; the others only tell how one goes on.
_OPENS = frozenset(
    {
        "run_awaiting_approval",
        "step_observed",
        "run_failed",
        "run_rolled_back",
        "run_expired",
        "recovery_did_not_last",
    }
)
EVENTS: Collection[str] = (
    *_OPENS,
    *("run_acting", "run_verifying", "run_rolling_back", "run_succeeded", "run_resolved"),
    *("run_cancelled", "run_refused", "run_acknowledged", "run_approved_by_a_person"),
    *("run_denied_by_a_person", "run_cancelled_by_a_person", "run_rolled_back_by_a_person"),
)
_LOOK_EVERY_S = 5.0
_KEPT_S = 30 * DAY_S
# Of an incident's runs, the newest are asked about.
_RUNS_MOST = 1000


@dataclass(kw_only=True)
class Tracker:
    """Not thread-safe. `after_s`: so long an alert may fire without a remedy."""

    database: Database
    inbox: Inbox
    after_s: float
    clock: Callable[[], float]
    _looks_at: float = field(default=0.0, init=False)

    def on_record(self, connection: Connection, record: Record) -> None:
        """Add the record to its incident, if it belongs to one."""
        run = store.get(connection, record.run_id) if record.run_id else None
        if run is None or (run.request is not None and run.request.dry_run):
            return
        incident = records.id_of_run(connection, run.id)
        if incident is None and record.event in _OPENS:
            incident = records.incident_of(connection, run, self.clock())
        text = _line(record, run)
        if incident is not None and text:
            records.add_line(connection, incident, record.at, text)
            records.touch(connection, incident, self.clock(), closed=False)

    def look(self) -> None:
        """Open incidents of alerts that nobody is on, and close what is over."""
        now = self.clock()
        if now < self._looks_at:
            return
        self._looks_at = now + _LOOK_EVERY_S
        self._open_unhandled(now)
        with self.database.read() as connection:
            current = [each for each in records.recent(connection, now) if not each.closed_at]
        for incident in current:
            if not self._is_open(incident, now):
                with self.database.write() as connection:
                    records.add_line(connection, incident.id, now, "over")
                    records.touch(connection, incident.id, now, closed=True)
        with self.database.write() as connection:
            records.prune(connection, now - _KEPT_S)

    def _open_unhandled(self, now: float) -> None:
        unremedied = UnremediedAlerts(database=self.database, inbox=self.inbox)
        for alerts in unremedied.by_subject(now, self.after_s):
            with self.database.write() as connection:
                run = store.get(connection, alerts.newest)
                if run is None or records.id_of_run(connection, run.id) is not None:
                    continue
                incident = records.incident_of(connection, run, now)
                ends = ", ".join(f"{end} {count}" for end, count in alerts.ends.most_common(3))
                text = f"{alerts.count} firing, and nobody is on it: {ends}"
                records.add_line(connection, incident, now, text)
                records.touch(connection, incident, now, closed=False)

    def _is_open(self, incident: Incident, now: float) -> bool:
        with self.database.read() as connection:
            run_ids = records.run_ids(connection, incident.id)[:_RUNS_MOST]
            columns = (runs.c.id, runs.c.state, runs.c.ended_at, runs.c.acknowledged)
            rows = connection.execute(select(*columns).where(runs.c.id.in_(run_ids))).all()
        if any(row.state in IN_FLIGHT for row in rows):
            return True
        without_remedy = [row for row in rows if row.state not in REMEDIED]
        fire, known = self._firing([row.id for row in without_remedy], now)
        # Nothing tells of a run by hand that it is over, but a person.
        by_hand = (row for row in without_remedy if row.id not in known and not row.acknowledged)
        return bool(fire) or any(now - (row.ended_at or now) < DAY_S for row in by_hand)

    def _firing(
        self, run_ids: Sequence[str], now: float
    ) -> tuple[Collection[str], Collection[str]]:
        """The runs whose alerts still fire, and those that an alert has."""
        query = select(episodes.c.run_id, episodes.c.resolved_at, episodes.c.last_seen_at)
        with self.inbox.database.read() as connection:
            rows = connection.execute(query.where(episodes.c.run_id.in_(run_ids))).all()
        fire = {
            row.run_id
            for row in rows
            if row.resolved_at is None and row.last_seen_at >= now - self.inbox.gap_s
        }
        return fire, {row.run_id for row in rows}


def _line(record: Record, run: Run) -> str:
    """What happened; empty where the record tells nothing of its own."""
    detail, event = record.detail, record.event
    if event == "step_observed":
        undone = " (undone)" if detail.get("undoes") is not None else ""
        text = f"{detail['action']} on {detail.get('target')}: {detail.get('outcome')}{undone}"
        return "" if detail["action"] == Capture.name else text
    if event == "run_awaiting_approval":
        plan = detail.get("plan")
        return f"approval needed: {plan['action']} on {plan['target']}" if plan else ""
    words = event.removeprefix("run_").removesuffix("_by_a_person").replace("_", " ")
    if event.endswith("_by_a_person") or event == "run_acknowledged":
        return f"{plain(record.actor)} {words}: {plain(str(detail.get('comment', '')))}"
    outcome = plain(str(detail.get("outcome") or ""))
    action = f" {run.plan.action}" if event == "run_acting" and run.plan else ""
    return f"{words}{action}{f': {outcome}' if outcome else ''}"
