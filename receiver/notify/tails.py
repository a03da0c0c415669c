"""What follows the audit log: notifications and traces."""

import importlib
from collections.abc import Callable

from receiver.audit.tail import AuditTail
from receiver.db.database import Database
from receiver.notify import messages
from receiver.notify.channels import Channels
from receiver.notify.metrics import NotifyMetrics
from receiver.notify.notifier import Notifier
from receiver.settings import Settings


class TracingError(Exception):
    """Traces are configured, and a package for them is not installed; the text names it."""


def notification_tail(
    settings: Settings,
    database: Database,
    channels: Channels,
    metrics: NotifyMetrics,
    clock: Callable[[], float],
) -> AuditTail:
    url = settings.public_url
    notifier = Notifier(
        database=database,
        announce=channels.announce,
        metrics=metrics,
        public_url=None if url is None else str(url),
        clock=clock,
    )
    return AuditTail(
        database, "notifications", messages.EVENTS, notifier.on_record, notifier.on_idle
    )


def tracing_tail(otlp_url: str, database: Database) -> AuditTail:
    """Raises TracingError."""
    try:
        # Imported by name: its packages are installed only with the extra `otel`.
        tracing = importlib.import_module("receiver.notify.tracing")
    except ImportError as error:
        hint = f"{error.name} is missing: pip install 'smartcloudops[otel]'"
        raise TracingError(f"SMARTCLOUDOPS_OTLP_URL: {hint}") from None
    exporter = tracing.TraceExporter(database, tracing.otlp(otlp_url))
    return AuditTail(database, "traces", tracing.EVENTS, exporter.on_record, exporter.on_idle)
