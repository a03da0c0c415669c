"""Roles that published sets lack, made up for a recorded machine: latency, state and disk space.

Each follows from what was recorded, so that an injected fault stands out from a plausible past:
answers take longer with more requests and a busy processor, the service is up, and the disk fills
slowly and is cleaned once a day.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.training.labelled_sets import RecordedTarget

ROLES = ("latency", "service_up", "filesystem_used")
_DAY_ROWS = 1440
_TRAFFIC = ("net_rx_bytes", "net_rx_packets", "tcp_in_segs")
_HIGH = 0.99
_LEAST = 1e-9

Floats = NDArray[np.float64]


def with_service_roles(target: RecordedTarget, rng: np.random.Generator) -> RecordedTarget:
    """The target with `ROLES`, by chance of one service or another."""
    rows = len(target.values)
    busy = _share(target, ("cpu_busy",))
    work = 1 + rng.uniform(0, 1) * _share(target, _TRAFFIC) + rng.uniform(0, 2) * busy**4
    latency = rng.uniform(0.005, 0.3) * work * rng.lognormal(0, rng.uniform(0.03, 0.3), rows)
    at = np.arange(rows) + int(rng.integers(_DAY_ROWS))
    written = rng.uniform(0, 0.08) * (at % _DAY_ROWS) / _DAY_ROWS
    kept = rng.uniform(0, 0.01) * at / _DAY_ROWS
    space = np.minimum(rng.uniform(0.1, 0.7) + written + kept, 0.95)
    space += rng.normal(0, 5e-4, rows)
    added = np.column_stack([latency, np.ones(rows), space]).astype(np.float32)
    return replace(target, roles=(*target.roles, *ROLES), values=np.hstack([target.values, added]))


def _share(target: RecordedTarget, roles: tuple[str, ...]) -> Floats:
    """The first of these roles, as a share of its high values; zero without any."""
    for role in roles:
        if role in target.roles:
            values = target.values[:, target.roles.index(role)].astype(np.float64)
            return values / max(float(np.quantile(values, _HIGH)), _LEAST)
    return np.zeros(len(target.values))
