"""The webhook's metrics."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from receiver.metrics import FAST_S, start_at_zero


class WebhookMetrics:
    """Deliveries, the alerts in them, and the groups that Alertmanager truncated."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.alerts_received = Counter(
            "smartcloudops_alerts_received",
            "Alerts in accepted deliveries, by status",
            ["status"],
            registry=registry,
        )
        start_at_zero(self.alerts_received, ("firing", "resolved"))
        self.alerts_duplicate = Counter(
            "smartcloudops_alerts_duplicate",
            "Firing alerts that belong to an open episode",
            registry=registry,
        )
        self.alerts_truncated = Counter(
            "smartcloudops_alerts_truncated",
            "Alerts that Alertmanager left out of its deliveries",
            registry=registry,
        )
        self.alerts_missed = Counter(
            "smartcloudops_alerts_missed",
            "Alerts that fire at Alertmanager, and of which no delivery came",
            registry=registry,
        )
        self.truncated_groups = Counter(
            "smartcloudops_truncated_groups",
            "Truncated deliveries, by result of the follow-up fetch",
            ["outcome"],
            registry=registry,
        )
        start_at_zero(self.truncated_groups, ("fetched", "lost"))
        self.duration = Histogram(
            "smartcloudops_webhook_duration_seconds",
            "Time from a delivery's headers to its answer",
            buckets=FAST_S,
            registry=registry,
        )
        self.rejected = Counter(
            "smartcloudops_webhook_rejected",
            "Deliveries answered with an error, by HTTP status",
            ["code"],
            registry=registry,
        )
        start_at_zero(self.rejected, (400, 401, 403, 413, 422, 500, 503))
