"""The registry of a service's metrics; each package defines its own metrics on it.

Every possible combination of labels starts at zero; no label has an id.
"""

from collections.abc import Iterable
from importlib.metadata import version
from itertools import product

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

# Off: a second series for each counter, which Prometheus 2 does not use.
disable_created_metrics()  # type: ignore[no-untyped-call] # the function has no annotations
FAST_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SLOW_S = (1, 2.5, 5, 10, 15, 20, 25, 30, 45, 60, 120, 300, 600, 1800, 3600)
SHARES = tuple(tenth / 10 for tenth in range(1, 11))
# The label of a run without a playbook, or with one that is no longer loaded.
NO_PLAYBOOK = "none"


def new_registry() -> CollectorRegistry:
    """A registry with `build_info` alone."""
    registry = CollectorRegistry()
    build_info = Gauge(
        "smartcloudops_build_info", "Version of the program", ["version"], registry=registry
    )
    build_info.labels(version("smartcloudops")).set(1)
    return registry


def start_at_zero(metric: Counter | Gauge | Histogram, *values: Iterable[object]) -> None:
    """Create each combination of label values; `values` has an iterable for each label."""
    for combination in product(*values):
        metric.labels(*combination)
