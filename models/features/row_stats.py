"""Order statistics of each row, without its gaps, which are NaN."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def median(values: Floats) -> Floats:
    """The median over the last axis; NaN for a row of NaN."""
    ordered = np.sort(values, axis=-1)
    length = values.shape[-1]
    if not np.isnan(ordered[..., -1]).any():
        return np.asarray((ordered[..., (length - 1) // 2] + ordered[..., length // 2]) / 2)
    # Sorting places NaN after all numbers.
    count = length - np.isnan(ordered).sum(axis=-1)
    low = np.take_along_axis(ordered, (np.maximum(count - 1, 0) // 2)[..., None], axis=-1)
    high = np.take_along_axis(ordered, np.minimum(count // 2, length - 1)[..., None], axis=-1)
    return np.where(count > 0, (low + high)[..., 0] / 2, np.nan)


class SortedRows:
    """Sorts rows once for all their statistics."""

    def __init__(self, values: Floats) -> None:
        self._ordered = np.sort(values, axis=1)
        self.count = values.shape[1] - np.isnan(self._ordered).sum(axis=1)
        self._rows = np.arange(len(values))

    def at(self, share: float) -> Floats:
        """The value at the nearest rank."""
        rank = np.rint(np.maximum(self.count - 1, 0) * share).astype(np.int64)
        return np.asarray(self._ordered[self._rows, rank])


def quantile(values: Floats, share: float) -> float:
    """The quantile of one row without gaps, interpolated between the nearest ranks."""
    at = (len(values) - 1) * share
    low = int(at)
    high = min(low + 1, len(values) - 1)
    placed = np.partition(values, (low, high))
    return float(placed[low] + (at - low) * (placed[high] - placed[low]))


def kth(values: Floats, rank: int) -> float:
    """The value at a rank (0 is the least), or the largest value if there are fewer."""
    rank = min(rank, len(values) - 1)
    return float(np.partition(values, rank)[rank])


def known_or(values: Floats, other: Floats) -> Floats:
    return np.where(np.isnan(values), other, values)


def share(part: Floats, whole: Floats) -> Floats:
    """`part` / `whole`; NaN where `whole` is 0."""
    return np.where(whole > 0, part / np.maximum(whole, 1), np.nan)
