"""Renders the figures of a set as text: the whole, each kind, and each machine or cluster."""

from collections.abc import Iterator, Sequence

from models.training.evaluation import SourceLine, Summary


def format_table(summary: Summary) -> str:
    """The figures and the table by kind, as text."""
    interval = f"{_share(summary.precision_low)}, {_share(summary.precision_high)}"
    refuted = f"{_share(summary.refuted_precision_low)}, {_share(summary.refuted_precision_high)}"
    over = summary.average_precision_over_groups
    over_groups = f"  [{_share(over[0])}, {_share(over[1])} over groups]" if over else ""
    lines = [
        f"set                       {summary.set}",
        f"model                     {summary.model}",
        f"alerts                    {summary.alerts}, {summary.incidents} of them incidents",
        f"precision of confirmed    {_share(summary.precision)}  [{interval}]",
        f"recall of incidents       {_share(summary.recall)}",
        f"precision of refuted      {_share(summary.refuted_precision)}  [{refuted}]",
        f"undecided                 {_share(summary.undecided)}",
        f"benign not confirmed      {_share(summary.benign_not_confirmed)}",
        f"benign refuted            {_share(summary.benign_refuted)}",
        f"average precision         {_share(summary.average_precision)}{over_groups}",
        f"suppressed at 95 % recall {_share(summary.suppressed_at_95_recall)}",
        f"recall at 95 % precision  {_share(summary.recall_at_95_precision)}",
        f"calibration error         {_share(summary.calibration_error)}",
        f"told at 0.95 or more      {_sure(summary)}",
    ]
    if summary.median_ms is not None and summary.p95_ms is not None:
        lines.append(f"ms a decision (CPU)       {summary.median_ms:.1f}, p95 {summary.p95_ms:.1f}")
    lines += [
        "",
        f"{'kind':20}{'is':10}{'alerts':>8}{'confirmed':>11}{'undecided':>11}{'refuted':>9}",
    ]
    for kind in summary.kinds:
        label = "incident" if kind.incident else "benign"
        shares = [count / kind.alerts for count in (kind.confirmed, kind.undecided, kind.refuted)]
        answered = f"{shares[0]:11.2f}{shares[1]:11.2f}{shares[2]:9.2f}"
        lines.append(f"{kind.kind:20}{label:10}{kind.alerts:8}{answered}")
    lines += ["", *_source_table(summary.sources)]
    return "\n".join(lines)


def _source_table(sources: Sequence[SourceLine]) -> Iterator[str]:
    yield (
        f"{'source':38}{'alerts':>8}{'incidents':>11}{'precision':>11}{'recall':>8}"
        f"{'refuted':>9}{'undecided':>11}{'ECE':>7}{'AP':>7}"
    )
    for one in sources:
        figures = (
            f"{_share(one.precision):>11}{_share(one.recall):>8}"
            f"{_share(one.refuted_precision):>9}{_share(one.undecided):>11}"
            f"{_share(one.calibration_error):>7}{_share(one.average_precision):>7}"
        )
        yield f"{one.source:38}{one.alerts:8}{one.incidents:11}{figures}"


def _sure(summary: Summary) -> str:
    sure = summary.sure
    return "-" if sure is None else f"{_share(sure.incidents)} of {sure.alerts} are incidents"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
