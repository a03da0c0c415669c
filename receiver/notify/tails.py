"""The leader's tasks that notify: messages about the audit, unhandled alerts, and traces."""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from receiver.audit.tail import AuditTail
from receiver.db.database import Database
from receiver.notify import messages
from receiver.notify.channels import Channels
from receiver.notify.metrics import NotifyMetrics
from receiver.notify.notifier import Notifier
from receiver.notify.unhandled import UnhandledAlerts
from receiver.settings import Settings
from receiver.webhook.inbox import Inbox


class TracingError(Exception):
    """Traces are configured, but a package for them is missing; the text names it."""


@dataclass(frozen=True, kw_only=True)
class NotifyTasks:
    settings: Settings
    database: Database
    inbox: Inbox
    channels: Channels | None
    metrics: NotifyMetrics
    clock: Callable[[], float]

    def make(self) -> Iterator[AuditTail | UnhandledAlerts]:
        """The tail that exports traces. Raises TracingError."""
        settings = self.settings
        public_url = None if settings.public_url is None else str(settings.public_url)
        yield UnhandledAlerts(
            database=self.database,
            inbox=self.inbox,
            after_s=settings.unhandled_after,
            public_url=public_url,
            metrics=self.metrics,
            clock=self.clock,
        )
        if self.channels is not None:
            notifier = Notifier(
                database=self.database,
                announce=self.channels.announce,
                metrics=self.metrics,
                public_url=public_url,
                clock=self.clock,
            )
            yield AuditTail(
                self.database,
                "notifications",
                messages.EVENTS,
                notifier.on_record,
                notifier.on_idle,
            )
        if settings.otlp_url is not None:
            yield _tracing_tail(str(settings.otlp_url), self.database)


def _tracing_tail(otlp_url: str, database: Database) -> AuditTail:
    try:
        # Imported here, because the packages of this module are installed only with the extra
        # `otel`.
        tracing = importlib.import_module("receiver.notify.tracing")
    except ImportError as error:
        hint = f"{error.name} is missing: pip install 'smartcloudops[otel]'"
        raise TracingError(f"SMARTCLOUDOPS_OTLP_URL: {hint}") from None
    exporter = tracing.TraceExporter(tracing.otlp(otlp_url))
    return AuditTail(database, "traces", tracing.EVENTS, exporter.on_record, exporter.on_idle)
