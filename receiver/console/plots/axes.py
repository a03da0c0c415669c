"""From values to places on a plot, and where its ticks are."""

import math
from dataclasses import dataclass

_TICKS = 4
_MINUTES = (1, 2, 5, 10, 15, 30, 60)
_MOMENTS_MOST = 8


@dataclass(frozen=True, kw_only=True)
class Scale:
    """`low` is drawn at `start`, `high` at `end`."""

    low: float
    high: float
    start: float
    end: float

    def of(self, value: float) -> float:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.start + share * (self.end - self.start)


def nice(low: float, high: float) -> list[float]:
    """Round values that enclose both, a few of them."""
    rough = (high - low) / _TICKS or 1.0
    power = 10 ** math.floor(math.log10(rough))
    step = next(one * power for one in (1, 2, 2.5, 5, 10) if one * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, max(last, first + 1) + 1)]


def moments(start: float, end: float) -> list[float]:
    """Whole minutes in epoch seconds, as many as there is room for."""
    fits = (one for one in _MINUTES if (end - start) / 60 / one <= _MOMENTS_MOST)
    step = 60 * next(fits, _MINUTES[-1])
    return [float(one) for one in range(math.ceil(start / step) * step, int(end) + 1, step)]
