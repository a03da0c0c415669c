"""Tree ensembles as plain arrays, loaded without running code and fast for single rows.

scikit-learn takes 9 to 20 ms for one row of an ensemble, most of it overhead. Here all trees take
their next step at once, with the results of scikit-learn (the tests compare both).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_ARRAYS = ("feature", "threshold", "left", "value", "roots", "scale", "base")
# numpy's own type of indices is twice as fast as the small ones on the disk.
_INDICES = ("feature", "left", "roots")


@dataclass(frozen=True)
class Forest:
    """The nodes of all trees in flat arrays.

    `left` is the number of a node's left child, and the right child follows it; a leaf is its own
    left child, with a `threshold` above every value. `value` [nodes, outputs] is used at leaves;
    the result is `base` + `scale` x their sum.
    """

    feature: NDArray[np.intp]
    threshold: NDArray[np.float32]
    left: NDArray[np.intp]
    value: NDArray[np.float32]
    roots: NDArray[np.intp]
    scale: float
    base: Floats

    def __call__(self, rows: NDArray[np.float32]) -> Floats:
        """Map [rows, features] without NaN to [rows, outputs]."""
        rows = np.ascontiguousarray(rows)
        values, begins = rows.ravel(), np.arange(len(rows))[:, None] * rows.shape[1]
        at = np.broadcast_to(self.roots, (len(rows), len(self.roots)))
        while True:
            above = values.take(self.feature.take(at) + begins) > self.threshold.take(at)
            after = self.left.take(at) + above
            if np.array_equal(after, at):
                break
            at = after
        total = self.value[at].sum(axis=1, dtype=np.float64)
        return np.asarray(self.base + self.scale * total)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], prefix: str) -> Self:
        """Raises KeyError and ValueError if the arrays are not a forest."""
        own = {name: arrays[f"{prefix}{name}"] for name in _ARRAYS}
        nodes = len(own["feature"])
        shapes = {name: own[name].shape[0] for name in ("threshold", "left", "value")}
        if any(length != nodes for length in shapes.values()):
            raise ValueError("the arrays of the decision trees differ in length")
        left, inner = own["left"], own["left"] != np.arange(nodes)
        for name, last in (("left", left + inner), ("roots", own["roots"])):
            if last.size and not (own[name].min() >= 0 and last.max() < nodes):
                raise ValueError(f"{name} points outside the trees")
        if not (left >= np.arange(nodes)).all() or (own["threshold"][~inner] != np.inf).any():
            # Children come after their parents and a leaf has none, so that every walk ends.
            raise ValueError("a decision tree has a cycle")
        own |= {name: own[name].astype(np.intp) for name in _INDICES}
        return cls(
            feature=own["feature"],
            threshold=own["threshold"],
            left=own["left"],
            value=own["value"],
            roots=own["roots"],
            scale=float(own["scale"].item()),
            base=own["base"],
        )
