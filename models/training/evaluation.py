"""Scores a labelled set with the code that serves, and summarises the answers."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.inference.artifact import Model
from models.inference.detector import judge
from models.inference.verdict import Answer, Verdict
from models.intervals import wilson
from models.training.labelled_sets import LabelledAlert, LabelledSet
from models.training.scores import (
    Bin,
    average_precision,
    calibration_error,
    interval_over_groups,
    recall_at,
    reliability,
    suppressed,
    told_surely,
)


@dataclass(frozen=True, kw_only=True)
class Scored:
    """An alert's label and its answer."""

    id: str
    incident: bool
    kind: str
    group: str
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
class SourceLine:
    """The figures of one group of alerts: a machine, or a cluster. None if undefined."""

    source: str
    alerts: int
    incidents: int
    precision: float | None
    recall: float | None
    refuted_precision: float | None
    undecided: float
    calibration_error: float | None
    average_precision: float | None


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The figures of one set; shares are in [0, 1], None if undefined.

    `refuted_precision` is the share of benign alerts among the refuted. The interval of the average
    precision is over groups, None with fewer than two. `sure` are alerts told at 0.95 or more.
    """

    set: str
    model: str
    alerts: int
    incidents: int
    precision: float | None
    precision_low: float
    precision_high: float
    recall: float | None
    refuted_precision: float | None
    refuted_precision_low: float
    refuted_precision_high: float
    undecided: float
    benign_not_confirmed: float | None
    benign_refuted: float | None
    average_precision: float | None
    average_precision_over_groups: tuple[float, float] | None
    suppressed_at_95_recall: float | None
    recall_at_95_precision: float | None
    calibration_error: float | None
    calibration: tuple[Bin, ...]
    sure: Bin | None
    median_ms: float | None
    p95_ms: float | None
    kinds: tuple[KindLine, ...]
    sources: tuple[SourceLine, ...]

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
        group=alert.group,
        answer=verdict.answer,
        score=verdict.score,
        confidence=verdict.confidence,
    )


@dataclass(frozen=True)
class _Arrays:
    """Labels and answers of alerts, as arrays."""

    incident: NDArray[np.bool_]
    score: NDArray[np.float64]
    confidence: NDArray[np.float64]
    confirmed: NDArray[np.bool_]
    refuted: NDArray[np.bool_]

    @classmethod
    def of(cls, scored: Sequence[Scored]) -> Self:
        confidences = [np.nan if one.confidence is None else one.confidence for one in scored]
        return cls(
            incident=np.array([one.incident for one in scored], dtype=np.bool_),
            score=np.array([one.score for one in scored], dtype=np.float64),
            confidence=np.array(confidences, dtype=np.float64),
            confirmed=np.array([one.answer is Answer.CONFIRMED for one in scored], dtype=np.bool_),
            refuted=np.array([one.answer is Answer.REFUTED for one in scored], dtype=np.bool_),
        )

    @property
    def right(self) -> int:
        return int((self.confirmed & self.incident).sum())

    @property
    def rightly_refuted(self) -> int:
        return int((self.refuted & ~self.incident).sum())

    @property
    def bins(self) -> tuple[Bin, ...]:
        return reliability(self.incident, self.confidence)

    @property
    def undecided(self) -> float:
        return float((~self.confirmed & ~self.refuted).mean())

    def average_precision(self, kept: NDArray[np.intp] | slice = slice(None)) -> float | None:
        return average_precision(self.incident[kept], self.score[kept])


def summarise(
    name: str, model: str, scored: Sequence[Scored], took: Sequence[float] = ()
) -> Summary:
    told = _Arrays.of(scored)
    incident, benign = told.incident, ~told.incident
    confirmed, refuted = int(told.confirmed.sum()), int(told.refuted.sum())
    low, high = wilson(told.right, confirmed)
    refuted_low, refuted_high = wilson(told.rightly_refuted, refuted)
    groups = np.array([alert.group for alert in scored])
    ms = np.array(took) * 1e3
    return Summary(
        set=name,
        model=model,
        alerts=len(scored),
        incidents=int(incident.sum()),
        precision=_ratio(told.right, confirmed),
        precision_low=low,
        precision_high=high,
        recall=_ratio(told.right, int(incident.sum())),
        refuted_precision=_ratio(told.rightly_refuted, refuted),
        refuted_precision_low=refuted_low,
        refuted_precision_high=refuted_high,
        undecided=told.undecided,
        benign_not_confirmed=_ratio(int((benign & ~told.confirmed).sum()), int(benign.sum())),
        benign_refuted=_ratio(told.rightly_refuted, int(benign.sum())),
        average_precision=told.average_precision(),
        average_precision_over_groups=interval_over_groups(told.average_precision, groups),
        suppressed_at_95_recall=suppressed(incident, told.score),
        recall_at_95_precision=recall_at(incident, told.score, 0.95),
        calibration_error=calibration_error(told.bins),
        calibration=told.bins,
        sure=told_surely(incident, told.confidence),
        median_ms=float(np.median(ms)) if len(ms) else None,
        p95_ms=float(np.quantile(ms, 0.95)) if len(ms) else None,
        kinds=_by_kind(scored),
        sources=_by_source(scored),
    )


def _by_source(scored: Sequence[Scored]) -> tuple[SourceLine, ...]:
    by_group: dict[str, list[Scored]] = {}
    for alert in scored:
        by_group.setdefault(alert.group, []).append(alert)
    lines = []
    for source, alerts in sorted(by_group.items()):
        told = _Arrays.of(alerts)
        incidents = int(told.incident.sum())
        lines.append(
            SourceLine(
                source=source,
                alerts=len(alerts),
                incidents=incidents,
                precision=_ratio(told.right, int(told.confirmed.sum())),
                recall=_ratio(told.right, incidents),
                refuted_precision=_ratio(told.rightly_refuted, int(told.refuted.sum())),
                undecided=told.undecided,
                calibration_error=calibration_error(told.bins),
                average_precision=told.average_precision(),
            )
        )
    return tuple(lines)


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


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
