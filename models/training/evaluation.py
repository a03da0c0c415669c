"""Scores a labelled set with the code that serves, and summarises the answers."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from models.inference.artifact import Model
from models.inference.detector import judge
from models.inference.verdict import Answer, Verdict
from models.training.labelled_sets import LabelledAlert, LabelledSet
from models.training.scores import (
    Bin,
    average_precision,
    calibration_error,
    recall_at,
    reliability,
    suppressed,
    wilson,
)


@dataclass(frozen=True, kw_only=True)
class Scored:
    """An alert's label and its answer."""

    id: str
    incident: bool
    kind: str
    answer: Answer
    score: float
    confidence: float | None

    def line(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "answer": self.answer.value,
            "score": round(self.score, 6),
            "confidence": None if self.confidence is None else round(self.confidence, 6),
        }


@dataclass(frozen=True, kw_only=True)
class KindLine:
    kind: str
    incident: bool
    alerts: int
    confirmed: int
    refuted: int
    undecided: int


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The figures of one set; shares are in [0, 1], None if undefined."""

    set: str
    model: str
    alerts: int
    incidents: int
    precision: float | None
    precision_low: float
    precision_high: float
    recall: float | None
    undecided: float
    benign_not_confirmed: float | None
    benign_refuted: float | None
    average_precision: float | None
    suppressed_at_95_recall: float | None
    recall_at_95_precision: float | None
    calibration_error: float | None
    calibration: tuple[Bin, ...]
    median_ms: float | None
    p95_ms: float | None
    kinds: tuple[KindLine, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def score_set(
    model: Model | None, labelled: LabelledSet, progress: Callable[[int, int], None]
) -> tuple[list[Scored], list[float]]:
    """Each alert's answer, and the CPU seconds of each decision."""
    scored: list[Scored] = []
    took: list[float] = []
    for number, (alert, evidence) in enumerate(labelled):
        began = time.process_time()
        verdict = judge(model, evidence, alert.roles)
        took.append(time.process_time() - began)
        scored.append(_scored(alert, verdict))
        progress(number + 1, len(labelled.alerts))
    return scored, took


def _scored(alert: LabelledAlert, verdict: Verdict) -> Scored:
    return Scored(
        id=alert.id,
        incident=alert.incident,
        kind=alert.kind,
        answer=verdict.answer,
        score=verdict.score,
        confidence=verdict.confidence,
    )


def summarise(
    name: str, model: str, scored: Sequence[Scored], took: Sequence[float] = ()
) -> Summary:
    incident = np.array([alert.incident for alert in scored], dtype=np.bool_)
    value = np.array([alert.score for alert in scored])
    confidence = np.array(
        [np.nan if alert.confidence is None else alert.confidence for alert in scored],
        dtype=np.float64,
    )
    confirmed = np.array([alert.answer is Answer.CONFIRMED for alert in scored], dtype=np.bool_)
    refuted = np.array([alert.answer is Answer.REFUTED for alert in scored], dtype=np.bool_)
    right = int((confirmed & incident).sum())
    low, high = wilson(right, int(confirmed.sum()))
    bins = reliability(incident, confidence)
    ms = np.array(took) * 1e3
    return Summary(
        set=name,
        model=model,
        alerts=len(scored),
        incidents=int(incident.sum()),
        precision=right / int(confirmed.sum()) if confirmed.any() else None,
        precision_low=low,
        precision_high=high,
        recall=float(confirmed[incident].mean()) if incident.any() else None,
        undecided=float((~confirmed & ~refuted).mean()),
        benign_not_confirmed=float((~confirmed[~incident]).mean()) if (~incident).any() else None,
        benign_refuted=float(refuted[~incident].mean()) if (~incident).any() else None,
        average_precision=average_precision(incident, value),
        suppressed_at_95_recall=suppressed(incident, value),
        recall_at_95_precision=recall_at(incident, value, 0.95),
        calibration_error=calibration_error(bins),
        calibration=bins,
        median_ms=float(np.median(ms)) if len(ms) else None,
        p95_ms=float(np.quantile(ms, 0.95)) if len(ms) else None,
        kinds=_by_kind(scored),
    )


def _by_kind(scored: Sequence[Scored]) -> tuple[KindLine, ...]:
    names = sorted({(not alert.incident, alert.kind) for alert in scored})
    lines = []
    for benign, kind in names:
        answers = [
            alert.answer for alert in scored if alert.kind == kind and alert.incident is not benign
        ]
        lines.append(
            KindLine(
                kind=kind,
                incident=not benign,
                alerts=len(answers),
                confirmed=answers.count(Answer.CONFIRMED),
                refuted=answers.count(Answer.REFUTED),
                undecided=answers.count(Answer.UNDECIDED),
            )
        )
    return tuple(lines)


def format_table(summary: Summary) -> str:
    """The figures and the table by kind, as text."""
    interval = f"{_share(summary.precision_low)}, {_share(summary.precision_high)}"
    lines = [
        f"set                       {summary.set}",
        f"model                     {summary.model}",
        f"alerts                    {summary.alerts}, {summary.incidents} of them incidents",
        f"precision of confirmed    {_share(summary.precision)}  [{interval}]",
        f"recall of incidents       {_share(summary.recall)}",
        f"undecided                 {_share(summary.undecided)}",
        f"benign not confirmed      {_share(summary.benign_not_confirmed)}",
        f"benign refuted            {_share(summary.benign_refuted)}",
        f"average precision         {_share(summary.average_precision)}",
        f"suppressed at 95 % recall {_share(summary.suppressed_at_95_recall)}",
        f"recall at 95 % precision  {_share(summary.recall_at_95_precision)}",
        f"calibration error         {_share(summary.calibration_error)}",
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
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
