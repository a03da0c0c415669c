"""Measures whether recent alerts still resemble the training data of the model.

The population stability index divides the reference into ten equal parts, and compares their shares
of the reference and of the present (Karakoulas, "Empirical validation of retail credit-scoring
models", 2004). Below 0.1 there is no change, above 0.25 a large one.
"""

from collections import deque
from threading import Lock

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PARTS = 10
_ENOUGH = 50
_KEPT = 500
_LEAST_SHARE = 1e-3


def edges(values: Floats) -> Floats:
    """The nine bounds of ten equal parts of each column [columns, 9]; NaN is left out."""
    return np.asarray(np.nanquantile(values, np.linspace(0, 1, PARTS + 1)[1:-1], axis=0).T)


def stability_index(reference: Floats, now: Floats) -> float | None:
    """The index of one column, by its `edges`; None if it has too few values."""
    now = now[np.isfinite(now)]
    if len(now) < _ENOUGH or not np.isfinite(reference).all():
        return None
    # A feature with few values has equal edges: these parts are counted together.
    steps, count = np.unique(reference, return_counts=True)
    expected = np.append(count, 1) / (len(reference) + 1)
    counts = np.bincount(np.searchsorted(steps, now, side="left"), minlength=len(steps) + 1)
    share = np.maximum(counts / len(now), _LEAST_SHARE)
    expected = np.maximum(expected, _LEAST_SHARE)
    return float(((share - expected) * np.log(share / expected)).sum())


class Drift:
    """The last 500 alerts of one model. Thread-safe."""

    def __init__(self, features: Floats, scores: Floats) -> None:
        self._features, self._scores = features, scores
        self._lock = Lock()
        self._recent: deque[tuple[Floats, float]] = deque(maxlen=_KEPT)

    def record(self, vector: Floats, score: float) -> None:
        """Add an alert; `vector` has the features of the reference, in its order."""
        with self._lock:
            self._recent.append((vector, score))

    def indices(self) -> tuple[float | None, float | None]:
        """The median index over the features, and the index of the scores."""
        with self._lock:
            recent = list(self._recent)
        if len(recent) < _ENOUGH:
            return None, None
        vectors = np.array([vector for vector, _ in recent])
        by_feature = [
            stability_index(self._features[column], vectors[:, column])
            for column in range(vectors.shape[1])
        ]
        indices = [index for index in by_feature if index is not None]
        scores = stability_index(self._scores, np.array([score for _, score in recent]))
        return (float(np.median(indices)) if indices else None), scores
