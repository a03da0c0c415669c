"""scikit-learn's trees as the arrays that serve."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.inference.tree_ensemble import Floats, Forest


def never() -> Forest:
    """A forest of one leaf, which gives every row a probability near 0."""
    return _joined(
        [(np.array([0]), np.zeros(1), np.array([-1]), np.array([-1]))],
        [np.zeros((1, 1))],
        scale=1.0,
        base=np.array([-9.0]),
    )


def from_boosting(*models: Any) -> Forest:
    """Convert HistGradientBoosting classifiers; outputs are their mean raw scores."""
    trees, values, bases = [], [], []
    for model in models:
        # scikit-learn has no public access to its trees.
        stages, base = model._predictors, model._baseline_prediction
        bases.append(np.asarray(base, dtype=np.float64).ravel())
        for stage in stages:
            for output, predictor in enumerate(stage):
                nodes = predictor.nodes
                leaf = nodes["is_leaf"].astype(bool)
                trees.append(
                    (
                        nodes["feature_idx"],
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
