"""The Prometheus of the settings: one, or several by the alerts that they know."""

import time
from collections.abc import Callable
from dataclasses import replace

import httpx

from receiver.evidence.prometheus.client import Prometheus
from receiver.monitoring import servers
from receiver.settings import Settings


def connect(
    settings: Settings,
    *,
    client: httpx.Client | None = None,
    timeout_s: float = 5.0,
    clock: Callable[[], float] = time.time,
    failed: Callable[[], None] = lambda: None,
) -> Prometheus:
    """The Prometheus that is asked where no alert tells, which leads to the others.

    With a `client`, queries go through it. Raises InvalidServersError.
    """
    made = [
        (
            server,
            Prometheus(
                str(server.url),
                client=client or server.client(),
                timeout_s=timeout_s,
                clock=clock,
                failed=failed,
            ),
        )
        for server in servers.load(settings.prometheus_file, settings.prometheus_url)
    ]
    *some, (_, other) = made
    return replace(other, others=some)
