"""Reports to people the alerts that still fire although their runs ended without remedy."""

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from receiver.db.database import Database
from receiver.notify import outbox
from receiver.notify.messages import Message, MessageKind
from receiver.notify.metrics import NotifyMetrics
from receiver.runs.queries.unremedied import Subject, Unremedied, UnremediedAlerts
from receiver.runtime.periodic import Periodic
from receiver.webhook.inbox import Inbox

_logger = structlog.get_logger()
_EVERY_S = 10.0
# People are reminded as often as Alertmanager reminds them by default.
_AGAIN_S = 4 * 3600.0
# A longer name may be a text that its sender wants people to read.
_NAME_MAX = 100
_REASONS_MOST = 3


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
        unremedied = UnremediedAlerts(database=self.database, inbox=self.inbox)
        subjects = unremedied.by_subject(now, self.after_s)
        with self.database.write() as connection:
            outbox.prune(connection, now)
            for alerts in subjects:
                message = _message(alerts, self.public_url)
                if not outbox.is_repeat(connection, message, now - _AGAIN_S):
                    outbox.add(connection, message, now)
                    self.metrics.unhandled.inc(alerts.count)
                    _logger.warning("alerts_unhandled", title=message.title, count=alerts.count)


def _message(alerts: Unremedied, public_url: str | None) -> Message:
    alertname, where = alerts.subject.alertname, _where_text(alerts.subject)
    is_name = alertname.isascii() and alertname.isidentifier() and len(alertname) <= _NAME_MAX
    name = alertname if is_name else "an alert"
    ends = alerts.ends.most_common(_REASONS_MOST)
    reasons = ", ".join(f"{end} {count}" for end, count in ends)
    count = f"{alerts.count} firing, and no step is under way: {reasons}"
    lines = [count, f"Newest run {alerts.newest}"]
    if public_url is not None:
        lines.append(f"{public_url.rstrip('/')}/runs/{alerts.newest}")
    return Message(
        kind=MessageKind.UNHANDLED,
        title=f"Unhandled: {name} in {where or 'no group'}",
        text="\n".join(lines),
        same_as=(MessageKind.UNHANDLED, alertname, where),
    )


def _where_text(subject: Subject) -> str:
    """The group or target, with its place where there are several."""
    place = f" of {subject.account}/{subject.region}" if subject.account else ""
    return subject.where + place
