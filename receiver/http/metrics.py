"""The HTTP side's metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from receiver.http.access.tokens import Tokens
from receiver.http.protocol import REASONS
from receiver.metrics import start_at_zero


class HttpMetrics:
    """Connections that were refused, and whether the tokens file can be read."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._refused = Counter(
            "smartcloudops_connections_refused",
            "Connections refused or closed before their request was complete, by reason",
            ["reason"],
            registry=registry,
        )
        start_at_zero(self._refused, REASONS)
        self._tokens_unreadable = Gauge(
            "smartcloudops_tokens_unreadable",
            "1 while the tokens file cannot be read, else 0",
            registry=registry,
        )

    def count_refused(self, reason: str) -> None:
        self._refused.labels(reason).inc()

    def watch(self, tokens: Tokens) -> None:
        """Report at each scrape whether the file of these tokens is unreadable."""
        self._tokens_unreadable.set_function(lambda: float(tokens.refresh().unreadable))
