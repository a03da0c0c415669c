"""Metrics of notifications."""

from prometheus_client import CollectorRegistry, Counter

from receiver.metrics import start_at_zero
from receiver.notify.messages import MessageKind


class NotifyMetrics:
    """Notifications and their outcomes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.notifications = Counter(
            "smartcloudops_notifications",
            "Notifications, by kind and outcome",
            ["kind", "outcome"],
            registry=registry,
        )
        self.unhandled = Counter(
            "smartcloudops_unhandled",
            "Alerts reported to people as unhandled",
            registry=registry,
        )
        start_at_zero(self.notifications, MessageKind, ("sent", "failed", "left_out"))
