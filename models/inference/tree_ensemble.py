"""Tree ensembles as plain arrays, loaded without running code and fast for single rows.

scikit-learn takes 9 to 20 ms for one row of an ensemble, most of it overhead. Here all trees take
their next step at once, with the results of scikit-learn (the tests compare both).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_ARRAYS = ("feature", "threshold", "left", "value", "roots", "scale", "base")
# Stored in the smallest type; numpy's index type, to which it is converted, is twice as fast.
_KEPT_AS = {"feature": np.int16, "left": np.int32, "roots": np.int32}


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

    def splits(self, features: int) -> NDArray[np.int64]:
        """The number of nodes that split on each feature."""
        inner = self.left != np.arange(len(self.left))
        return np.bincount(self.feature[inner], minlength=features)

    def arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        """The arrays for `from_arrays`; each name is `prefix` + the field's name."""
        return {
            f"{prefix}{name}": np.asarray(getattr(self, name), dtype=_KEPT_AS.get(name))
            for name in _ARRAYS
        }

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
        own |= {name: own[name].astype(np.intp) for name in _KEPT_AS}
        return cls(
            feature=own["feature"],
            threshold=own["threshold"],
            left=own["left"],
            value=own["value"],
            roots=own["roots"],
            scale=float(own["scale"].item()),
            base=own["base"],
        )


def never() -> Forest:
    """A forest of one leaf, which gives every row a probability near 0."""
    return _joined(
        [(np.array([-2]), np.zeros(1), np.array([-1]), np.array([-1]))],
        [np.zeros((1, 1))],
        scale=1.0,
        base=np.array([-9.0]),
    )


def from_boosting(*models: Any, columns: NDArray[np.int64] | None = None) -> Forest:
    """Convert HistGradientBoosting classifiers; outputs are their mean raw scores.

    `columns` are the features that the models were trained on; None stands for all.
    """
    trees, values, bases = [], [], []
    for model in models:
        # scikit-learn has no public access to its trees.
        stages, base = model._predictors, model._baseline_prediction
        bases.append(np.asarray(base, dtype=np.float64).ravel())
        for stage in stages:
            for output, predictor in enumerate(stage):
                nodes = predictor.nodes
                leaf = nodes["is_leaf"].astype(bool)
                named = nodes["feature_idx"].astype(np.int64)
                named = named if columns is None else columns[np.where(leaf, 0, named)]
                trees.append(
                    (
                        np.where(leaf, -2, named),
                        nodes["num_threshold"],
                        np.where(leaf, -1, nodes["left"].astype(np.int64)),
                        np.where(leaf, -1, nodes["right"].astype(np.int64)),
                    )
                )
                value = np.zeros((len(nodes), len(stage)))
                value[:, output] = np.where(leaf, nodes["value"], 0)
                values.append(value)
    return _joined(trees, values, scale=1 / len(models), base=np.mean(bases, axis=0))


def _joined(
    trees: Sequence[tuple[Any, ...]], values: Sequence[Floats], *, scale: float, base: Floats
) -> Forest:
    feature, threshold, left, value, roots = [], [], [], [], []
    start = 0
    for (features, thresholds, lefts, rights), leaves in zip(trees, values, strict=True):
        order, first = _side_by_side(lefts, rights)
        leaf = lefts[order] < 0
        feature.append(np.where(leaf, 0, features[order]))
        threshold.append(np.where(leaf, np.inf, _rounded_down(thresholds[order])))
        left.append(first + start)
        value.append(np.where(leaf[:, None], leaves[order], 0))
        roots.append(start)
        start += len(features)
    return Forest(
        feature=np.concatenate(feature).astype(np.intp),
        threshold=np.concatenate(threshold).astype(np.float32),
        left=np.concatenate(left).astype(np.intp),
        value=np.concatenate(value).astype(np.float32),
        roots=np.array(roots, dtype=np.intp),
        scale=scale,
        base=base,
    )


def _side_by_side(
    lefts: NDArray[np.int64], rights: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Order the nodes by level, siblings together. Returns also where left children are now."""
    order: list[int] = [0]
    first: list[int] = []
    for node in order:
        leaf = lefts[node] < 0
        first.append(len(first) if leaf else len(order))
        if not leaf:
            order += [int(lefts[node]), int(rights[node])]
    return np.array(order), np.array(first)


def _rounded_down(values: Floats) -> NDArray[np.float32]:
    """The largest float32 up to t; for a float32 x, `x <= t` is the same as `x <=` this value."""
    near = values.astype(np.float32)
    return np.where(near > values, np.nextafter(near, np.float32(-np.inf)), near)
