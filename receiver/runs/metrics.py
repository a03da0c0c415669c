"""The metrics of retention."""

from prometheus_client import CollectorRegistry, Counter


class RetentionMetrics:
    """Records that retention deleted, and its failures."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.removed = Counter(
            "smartcloudops_retention_removed",
            "Old records deleted, by kind",
            ["kind"],
            registry=registry,
        )
        self.failures = Counter(
            "smartcloudops_retention_failures",
            "Failed deletions of old records",
            registry=registry,
        )
