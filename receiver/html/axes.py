"""The axes of a plot: the position of a value, and the values that get a label."""

import math
from dataclasses import dataclass

_TICKS = 4
_STEPS = (1, 2, 2.5, 5, 10)
_MINUTES = (1, 2, 5, 10, 15, 30, 60)
# The share of a plot's width that a label such as 10:15 needs.
_TIMES_MOST = 8


@dataclass(frozen=True, kw_only=True)
class Scale:
    """The value `low` is drawn at position `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float

    def position(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.start + share * (self.end - self.start)


def round_ticks(low: float, high: float) -> list[float]:
    """About four round values, evenly spaced, that enclose `low` and `high`."""
    rough = (high - low) / _TICKS or 1.0
    power = 10 ** math.floor(math.log10(rough))
    # 0.999: a rounding error must not lead to the next larger step.
    spacing = next(step * power for step in _STEPS if step * power >= rough * 0.999)
    first, last = math.floor(low / spacing + 1e-9), math.ceil(high / spacing - 1e-9)
    return [round(number * spacing, 12) for number in range(first, max(last, first + 1) + 1)]


def minute_ticks(start: float, end: float) -> list[float]:
    """Whole minutes between two times in epoch seconds, at most eight where hours allow it."""
    fitting = (minutes for minutes in _MINUTES if (end - start) / 60 / minutes <= _TIMES_MOST)
    spacing = 60 * next(fitting, _MINUTES[-1])
    first = math.ceil(start / spacing) * spacing
    return [float(time) for time in range(first, int(end) + 1, spacing)]
