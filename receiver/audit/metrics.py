"""Metrics of the signed audit heads and of the reconciliation with CloudTrail."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from actions.assurance.reconcile import FindingKind
from receiver.metrics import start_at_zero


class HeadMetrics:
    """Metrics of the signed heads of the audit chain."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.anchored = Gauge(
            "smartcloudops_audit_anchored",
            "Sequence number of the last audit record that a signed head covers; 0 before one",
            registry=registry,
        )
        self.failures = Counter(
            "smartcloudops_audit_anchor_failures",
            "Failed attempts to sign and store the head of the audit chain",
            registry=registry,
        )


class ReconcileMetrics:
    """Metrics of the comparison of the ledger with CloudTrail."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.findings = Gauge(
            "smartcloudops_reconcile_findings",
            "Differences between the ledger and CloudTrail in the last comparison, by kind",
            ["kind"],
            registry=registry,
        )
        start_at_zero(self.findings, FindingKind)
        self.finished = Gauge(
            "smartcloudops_reconciled_timestamp_seconds",
            "Time of the last comparison of the ledger with CloudTrail; 0 before the first",
            registry=registry,
        )
        self.failures = Counter(
            "smartcloudops_reconcile_failures",
            "Comparisons of the ledger with CloudTrail that could not be completed",
            registry=registry,
        )
