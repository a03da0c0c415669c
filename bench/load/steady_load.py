"""Decides from samples over time whether the resources of a process stay constant."""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

# The maximum rise of the fitted line, as a share of the mean. A leak rises more, both over the last
# two thirds and over their second half; a pool that opens one more connection does not.
GROWS_AT_MOST = 0.05
# The maximum ratio of the last third's p99 to the lower p99 of the first two thirds.
SLOWER_AT_MOST = 1.5
# After this many retention periods, retention deletes as many records as are added.
_SETTLED = 1.5


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One measurement of the process; `at` is in monotonic seconds."""

    at: float
    rss_mb: float
    handles: int
    threads: int
    database_mb: float


@dataclass(frozen=True, kw_only=True)
class SoakReport:
    """Growths are shares of the mean; None means not measured.

    Of the growth over the last two thirds and over their second half, the report has the lower.
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
        """Whether no run was lost, no resource grew, and answers did not slow down."""
        growths = (self.rss_growth, self.handles_growth, self.threads_growth)
        flat = max(*growths, self.database_growth or 0.0) <= GROWS_AT_MOST
        *before, last = self.ack_p99_ms_by_third
        whole = self.lost == 0 and self.failed == 0 and self.audit_holds
        return whole and flat and last <= SLOWER_AT_MOST * min(before)

    def table(self) -> str:
        rows = [f"| `{name}` | {_format(value)} |" for name, value in asdict(self).items()]
        return "\n".join(["| figure | value |", "|---|---|", *rows, f"| sound | {self.sound} |"])


@dataclass(frozen=True)
class Acknowledgement:
    """The time at which a delivery was sent (monotonic seconds), and the duration of its answer."""

    at: float
    took_s: float


@dataclass(frozen=True, kw_only=True)
class SoakCounts:
    """The receiver's own counts over the whole soak."""

    accepted: int
    failed: int
    ended: int
    acted: int
    removed: int
    audit_holds: bool


def evaluate(
    samples: Sequence[Sample],
    answers: Sequence[Acknowledgement],
    counts: SoakCounts,
    *,
    kept_s: float,
) -> SoakReport:
    """The report on samples and answers; `kept_s` is the retention of records."""
    began, over = answers[0].at, samples[-1].at
    third = (over - began) / 3
    late = [sample for sample in samples if sample.at >= began + third]
    # The database grows until retention deletes the first records, and for some time after.
    settled = [sample for sample in late if sample.at >= began + _SETTLED * kept_s]
    long_enough = bool(settled) and over - settled[0].at >= third

    def growth(values: Sequence[float], measured: Sequence[Sample] = late) -> float:
        at, half = [sample.at for sample in measured], len(measured) // 2
        return min(_rise(at, values), 2 * _rise(at[half:], values[half:]))

    rss = [sample.rss_mb for sample in late]
    handles = [float(sample.handles) for sample in late]
    threads = [float(sample.threads) for sample in late]
    return SoakReport(
        minutes=(over - began) / 60,
        deliveries=len(answers),
        accepted=counts.accepted,
        failed=counts.failed,
        lost=counts.accepted - counts.ended,
        acted=counts.acted,
        removed=counts.removed,
        audit_holds=counts.audit_holds,
        rss_mb=rss[-1],
        rss_growth=growth(rss),
        handles=handles[-1],
        handles_growth=growth(handles),
        threads=threads[-1],
        threads_growth=growth(threads),
        database_mb=late[-1].database_mb,
        database_growth=growth([sample.database_mb for sample in settled], settled)
        if long_enough
        else None,
        ack_p99_ms_by_third=[
            1e3 * _p99([each for each in answers if n <= (each.at - began) / third < n + 1])
            for n in range(3)
        ],
    )


def _rise(at: Sequence[float], values: Sequence[float]) -> float:
    """The rise of the fitted line, as a share of the values' mean."""
    slope = statistics.linear_regression(at, values).slope
    return slope * (at[-1] - at[0]) / statistics.mean(values)


def _p99(answers: Sequence[Acknowledgement]) -> float:
    return sorted(answer.took_s for answer in answers)[int(0.99 * len(answers))]


def _format(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(f"{part:.3g}" for part in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)
