"""Whether what a process uses stays what it is: samples over a time, and what they say."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

# By how much the fitted line over the last two thirds may rise, as a share of what is used, and at
# which pace in the second half of them: a pool that opened one more of what it holds is no leak,
# what leaks goes on.
GROWS_AT_MOST = 0.05
# And the slowest hundredth of the last third's answers against the better third before.
SLOWER_AT_MOST = 1.5
# After so many times as long as records are kept, as many go as come.
_SETTLED = 1.5


@dataclass(frozen=True, kw_only=True)
class Sample:
    """`at` in monotonic seconds."""

    at: float
    rss_mb: float
    handles: int
    threads: int
    database_mb: float


@dataclass(frozen=True, kw_only=True)
class Soaked:
    """Growths are shares over the last two thirds, by the slower of all of it and its second half.

    None could not be measured.
    """

    minutes: float
    deliveries: int
    accepted: int
    failed: int
    lost: int
    acted: int
    removed: int
    audit_holds: bool
    rss_mb: float
    rss_growth: float
    handles: float
    handles_growth: float
    threads: float
    threads_growth: float
    database_mb: float
    database_growth: float | None
    ack_p99_ms_by_third: Sequence[float]

    @property
    def sound(self) -> bool:
        """Nothing lost, nothing that grows, nothing slower."""
        growths = (self.rss_growth, self.handles_growth, self.threads_growth)
        flat = max(*growths, self.database_growth or 0.0) <= GROWS_AT_MOST
        *before, last = self.ack_p99_ms_by_third
        whole = self.lost == 0 and self.failed == 0 and self.audit_holds
        return whole and flat and last <= SLOWER_AT_MOST * min(before)

    def table(self) -> str:
        rows = [f"| `{name}` | {_told(value)} |" for name, value in asdict(self).items()]
        return "\n".join(["| figure | value |", "|---|---|", *rows, f"| sound | {self.sound} |"])


@dataclass(frozen=True)
class Answer:
    """When a delivery was sent, in monotonic seconds, and how long its answer took."""

    at: float
    took_s: float


def soaked(  # noqa: PLR0913 each is one fact about what went on
    samples: Sequence[Sample],
    answers: Sequence[Answer],
    *,
    accepted: int,
    failed: int,
    ended: int,
    acted: int,
    removed: int,
    audit_holds: bool,
    kept_s: float,
) -> Soaked:
    """What the samples and answers say; `kept_s`: for how long records are kept."""
    began, over = answers[0].at, samples[-1].at
    third = (over - began) / 3
    late = [one for one in samples if one.at >= began + third]
    # Before the first records are old enough to go, and for some time after, it can only grow.
    settled = [one for one in late if one.at >= began + _SETTLED * kept_s]
    long_enough = bool(settled) and over - settled[0].at >= third

    def growth(values: Sequence[float], seen: Sequence[Sample] = late) -> float:
        at, half = [one.at for one in seen], len(seen) // 2
        return min(_rise(at, values), 2 * _rise(at[half:], values[half:]))

    rss, handles = [one.rss_mb for one in late], [float(one.handles) for one in late]
    threads = [float(one.threads) for one in late]
    return Soaked(
        minutes=(over - began) / 60,
        deliveries=len(answers),
        accepted=accepted,
        failed=failed,
        lost=accepted - ended,
        acted=acted,
        removed=removed,
        audit_holds=audit_holds,
        rss_mb=rss[-1],
        rss_growth=growth(rss),
        handles=handles[-1],
        handles_growth=growth(handles),
        threads=threads[-1],
        threads_growth=growth(threads),
        database_mb=late[-1].database_mb,
        database_growth=growth([one.database_mb for one in settled], settled)
        if long_enough
        else None,
        ack_p99_ms_by_third=[
            1e3 * _p99([one for one in answers if n <= (one.at - began) / third < n + 1])
            for n in range(3)
        ],
    )


def _rise(at: Sequence[float], values: Sequence[float]) -> float:
    """Of the fitted line, as a share of the values' mean."""
    slope = statistics.linear_regression(at, values).slope
    return slope * (at[-1] - at[0]) / statistics.mean(values)


def _p99(answers: Sequence[Answer]) -> float:
    return sorted(one.took_s for one in answers)[int(0.99 * len(answers))]


def _told(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(f"{one:.3g}" for one in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
