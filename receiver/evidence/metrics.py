"""Metrics of the reads of Prometheus and AWS, and of the model."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from models.inference.verdict import Answer
from receiver.evidence.source import Source
from receiver.metrics import start_at_zero


class EvidenceMetrics:
    """Failed reads, by source."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._unreadable = Counter(
            "smartcloudops_unreadable",
            "Failed reads, by source",
            ["source"],
            registry=registry,
        )
        start_at_zero(self._unreadable, Source)

    def count_failed_read(self, source: Source) -> None:
        self._unreadable.labels(source).inc()


class ModelMetrics:
    """The active model, its drift, and its verdicts next to the shadow model's."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.info = Gauge(
            "smartcloudops_model_info",
            "Version of the active model",
            ["version"],
            registry=registry,
        )
        self.usable = Gauge(
            "smartcloudops_model_usable", "1 while a model is loaded, else 0", registry=registry
        )
        self.drift = Gauge(
            "smartcloudops_model_drift",
            "Population stability index of the live data against the training data",
            ["of"],
            registry=registry,
        )
        start_at_zero(self.drift, ("features", "scores"))
        self.shadow_verdicts = Counter(
            "smartcloudops_shadow_verdicts",
            "Verdicts, by answer of the active and of the shadow model",
            ["active", "shadow"],
            registry=registry,
        )
        start_at_zero(self.shadow_verdicts, Answer, Answer)
