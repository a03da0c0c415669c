"""Metrics of decisions and their verdicts."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from models.inference.verdict import Answer
from receiver.metrics import FAST_S, SHARES, start_at_zero


class DecisionMetrics:
    """The durations of decisions, and their verdicts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.verdicts = Counter(
            "smartcloudops_verdicts", "Verdicts, by answer", ["answer"], registry=registry
        )
        start_at_zero(self.verdicts, Answer)
        self.verdict_score = Histogram(
            "smartcloudops_verdict_score",
            "Scores of verdicts, from 0 (no incident) to 1 (incident)",
            buckets=SHARES,
            registry=registry,
        )
        self.recheck_duration = Histogram(
            "smartcloudops_recheck_duration_seconds",
            "Time to fetch the evidence and reach a verdict",
            buckets=FAST_S,
            registry=registry,
        )
        self.duration = Histogram(
            "smartcloudops_decision_duration_seconds",
            "Time from the start of a run's decision to its end",
            buckets=FAST_S,
            registry=registry,
        )
