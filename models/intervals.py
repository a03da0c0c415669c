"""95 % intervals of shares, and of differences of shares and means."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

_Z = 1.959964


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A difference with its 95 % interval, in the unit of what is compared."""

    value: float
    low: float
    high: float


def wilson(right: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927); (0, 1) if `count` is 0."""
    if not count:
        return 0.0, 1.0
    share = right / count
    middle = share + _Z**2 / (2 * count)
    half = _Z * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    whole = 1 + _Z**2 / count
    return max(0.0, (middle - half) / whole), min(1.0, (middle + half) / whole)


def share_difference(first: tuple[int, int], second: tuple[int, int]) -> Difference:
    """The first share minus the second, each as (right, count) with a count above 0.

    The hybrid score interval, method 10 of Newcombe 1998 (doi:10.1002/(SICI)1097-0258(19980430)
    17:8<873::AID-SIM779>3.0.CO;2-I): it holds for small counts and for shares of 0 and 1.
    """
    (low_1, high_1), (low_2, high_2) = wilson(*first), wilson(*second)
    share_1, share_2 = first[0] / first[1], second[0] / second[1]
    value = share_1 - share_2
    return Difference(
        value=value,
        low=value - math.hypot(share_1 - low_1, high_2 - share_2),
        high=value + math.hypot(high_1 - share_1, share_2 - low_2),
    )


def mean_difference(first: Sequence[float], second: Sequence[float], *, most: float) -> Difference:
    """The mean of the first minus that of the second; each has a value, all are from 0 to `most`.

    Welch's interval, after one value at either end was added to each: what Agresti and Caffo 2000
    (doi:10.1080/00031305.2000.10474560) do for shares. Without them it is too narrow where most
    values are at one end, and of no width where all are.
    """
    value = fmean(first) - fmean(second)
    widened = [[*values, 0.0, most] for values in (first, second)]
    parts = [variance(values) / len(values) for values in widened]
    error = sum(parts)
    freedom = error**2 / sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, widened, strict=True)
    )
    middle = fmean(widened[0]) - fmean(widened[1])
    half = _student(freedom) * math.sqrt(error)
    low, high = min(value, middle - half), max(value, middle + half)
    return Difference(value=value, low=max(-most, low), high=min(most, high))


def _student(freedom: float) -> float:
    """The 97.5 % quantile of Student's t (Abramowitz and Stegun 26.7.5), right to 1 % from 3 on."""
    z = _Z
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92_160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))
