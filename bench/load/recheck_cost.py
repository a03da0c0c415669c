"""The CPU time of a re-check whose metrics were already read."""

import time
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from models.features.evidence import Evidence, Series
from models.features.signals import ROLES
from models.inference.artifact import load_shipped
from models.inference.detector import judge

_ROLES, _DAYS, _SIBLINGS, _ROUNDS = 12, 7, 5, 300
_AT = 1_800_000_000.0


def measure_recheck() -> Mapping[str, float]:
    """CPU milliseconds of one decision with siblings, as served."""
    model, rng = load_shipped(), np.random.default_rng(1)
    names = list(ROLES)[:_ROLES]
    past = _AT - 300.0 * np.arange(_DAYS * 288, 0, -1, dtype=np.float64)
    late = _AT - 15.0 * np.arange(480, -1, -1, dtype=np.float64)
    half_hour = _AT - 30.0 * np.arange(60, -1, -1, dtype=np.float64)
    took = []
    for _ in range(_ROUNDS):
        evidence = Evidence(
            target="i-0123456789abcdef0",
            at=_AT,
            history={name: _series(past, rng) for name in names},
            recent={name: _series(late, rng) for name in names},
            peers={
                f"i-{number:017x}": {name: _series(half_hour, rng) for name in names}
                for number in range(_SIBLINGS)
            },
        )
        started = time.process_time()
        judge(model, evidence, names[:1])
        took.append(1e3 * (time.process_time() - started))
    return {
        "recheck_cpu_ms_p50": float(np.median(took)),
        "recheck_cpu_ms_p95": float(np.quantile(took, 0.95)),
    }


def _series(times: NDArray[np.float64], rng: np.random.Generator) -> Series:
    daily = 0.3 + 0.1 * np.sin(2 * np.pi * times / 86_400)
    values = daily + rng.normal(scale=0.02, size=len(times))
    return Series(tuple(times.tolist()), tuple(values.tolist()))
