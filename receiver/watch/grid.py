"""Samples of one host on common times, compact enough to keep those of hundreds of hosts."""

import math
from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from models.features.evidence import Series

_NONE = Series()


@dataclass(kw_only=True)
class Grid:
    """Columns of as many values as `times` (epoch seconds, in order); NaN where one is missing.

    What is older than `length_s` before the newest time is dropped.
    """

    length_s: float
    times: "array[float]" = field(default_factory=lambda: array("d"))
    columns: "dict[str, array[float]]" = field(default_factory=dict)

    @property
    def until(self) -> float | None:
        """The newest time."""
        return self.times[-1] if self.times else None

    def extend(self, times: Sequence[float], samples: Mapping[str, Series]) -> None:
        """Add later times, and the samples of these times."""
        for name in samples.keys() - self.columns.keys():
            self.columns[name] = array("f", [math.nan]) * len(self.times)
        for name, column in self.columns.items():
            series = samples.get(name, _NONE)
            known = dict(zip(series.times, series.values, strict=True))
            column.extend(known.get(time, math.nan) for time in times)
        self.times.extend(times)
        self._trim()

    def series(self, since: float = 0.0) -> dict[str, Series]:
        """The columns from a moment on."""
        first = bisect_left(self.times, since)
        times = self.times[first:]
        return {name: Series(times, column[first:]) for name, column in self.columns.items()}

    def latest(self) -> dict[str, float]:
        """The newest value of each column that has one."""
        newest = {name: column[-1] for name, column in self.columns.items() if column}
        return {name: value for name, value in newest.items() if not math.isnan(value)}

    def _trim(self) -> None:
        if not self.times:
            return
        old = bisect_left(self.times, self.times[-1] - self.length_s)
        if old:
            del self.times[:old]
            for column in self.columns.values():
                del column[:old]
