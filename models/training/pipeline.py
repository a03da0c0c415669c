"""Trains a model from labelled sets and writes it to a folder, with a card of its figures."""

import hashlib
import json
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from joblib import Parallel, delayed
from numpy.typing import NDArray

from models.features.vector import NAMES
from models.inference.artifact import CARD, Entry
from models.inference.parameters import Parameters
from models.inference.scorers import Scores
from models.training.boosting import Boosting, fit
from models.training.cross_fit import Answers, answer_rows, build_parameters, cross_fit
from models.training.dataset import (
    JudgedAlert,
    Origin,
    Rows,
    injected_rows,
    judged_rows,
    rows_of_set,
)
from models.training.evaluation import Scored, Summary, summarise
from models.training.export.artifact_writer import Write, save, to_bytes
from models.training.labelled_sets import LabelledSet, RecordedTarget, read_set
from models.training.model_card import EVERY_KIND

_MINUTE_S = 60
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """The sources of rows.

    `folders` hold labelled sets. Faults are injected into the targets of the sets and into
    `targets`, which are further targets with their groups. `judged` are alerts with a person's
    feedback.
    """

    folders: Sequence[Path]
    targets: Sequence[tuple[RecordedTarget, str]] = ()
    judged: Sequence[JudgedAlert] = ()


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Options: `each` injections for every kind and target.

    `rehearse` leaves out kinds and sets in turn.
    """

    boosting: Boosting
    each: int
    folds: int
    rehearse: bool


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    parameters: Parameters
    figures: tuple[Summary, ...]
    rehearsal: tuple[Summary, ...]
    left_out: tuple[Summary, ...]
    data: Mapping[str, str]
    seed: int
    rows: int
    incidents: int


def read_sets(folders: Iterable[Path]) -> Mapping[Path, LabelledSet]:
    """The sets by folder, in one order however they are listed, because the order makes the model.

    Those with groups of siblings come last. Raises models.training.labelled_sets.SetError.
    """
    sets = [(folder, read_set(folder)) for folder in folders]
    return dict(sorted(sets, key=lambda each: (bool(each[1].groups), each[0].name)))


def train(data: TrainingData, options: TrainingOptions, progress: Progress) -> TrainedModel:
    """Train a model on all data, with figures from held-out groups.

    Raises models.training.labelled_sets.SetError.
    """
    boosting = options.boosting
    sets = read_sets(data.folders)
    rows = _rows([*sets.values()], data, options, progress)
    scores = cross_fit(
        rows,
        folds=options.folds,
        boosting=boosting,
        progress=lambda at, of: progress("cross-fitting", at, of),
    )
    progress("fitting", 0, 1)
    parameters = build_parameters(rows, fit(rows, boosting), scores, boosting)
    progress("fitting", 1, 1)
    return TrainedModel(
        parameters=parameters,
        figures=_figures(rows, scores),
        rehearsal=_rehearsal(rows, boosting, progress) if options.rehearse else (),
        left_out=_left_out(rows, boosting, progress) if options.rehearse else (),
        data={folder.name: _hash(folder) for folder in sets},
        seed=boosting.seed,
        rows=len(rows),
        incidents=int(rows.incident.sum()),
    )


def write_model(
    model: TrainedModel, folder: Path, write: Write, version: str | None = None
) -> Entry:
    """Write model, manifest and card; by default the version is a hash of the model's bytes."""
    data = to_bytes(model.parameters)
    version = version or f"model-{hashlib.sha256(data).hexdigest()[:12]}"
    entry = save(folder, version, model.parameters, write)
    card: dict[str, Any] = {
        "version": version,
        "sha256": entry.sha256,
        "bytes": len(data),
        "data": dict(model.data),
        "seed": model.seed,
        "features": len(NAMES),
        "rows": model.rows,
        "incidents": model.incidents,
        "limits": asdict(model.parameters.thresholds),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
        },
        "figures": [summary.as_dict() for summary in model.figures],
        "rehearsal": [summary.as_dict() for summary in model.rehearsal],
        "left_out": [summary.as_dict() for summary in model.left_out],
    }
    write(folder / CARD, (json.dumps(card, indent=2) + "\n").encode())
    return entry


def _rows(
    sets: Sequence[LabelledSet], data: TrainingData, options: TrainingOptions, progress: Progress
) -> Rows:
    targets = {target.name: target for labelled in sets for target in labelled.targets.values()}
    group = {alert.target: alert.group for labelled in sets for alert in labelled.alerts}
    # Fault injection works with rows of a minute.
    fine = [(target, group[name]) for name, target in targets.items() if target.step_s == _MINUTE_S]
    work = [delayed(rows_of_set)(labelled, seed=options.boosting.seed) for labelled in sets]
    work += [
        delayed(injected_rows)(target, name, each=options.each, seed=options.boosting.seed + number)
        for number, (target, name) in enumerate([*fine, *data.targets], start=1)
    ]
    parts = []
    for part in Parallel(n_jobs=-1, return_as="generator")(work):
        parts.append(part)
        progress("alerts", len(parts), len(work))
    if data.judged:
        parts.append(judged_rows(data.judged))
    return Rows.joined(parts)


def _figures(rows: Rows, scores: Scores) -> tuple[Summary, ...]:
    """Figures by set; each group's thresholds and calibration come from the other groups."""
    answers = answer_rows(rows, scores)
    return tuple(
        summarise(str(name), "cross-fitted", _scored(rows, answers, rows.source == name))
        for name in _sets(rows)
    )


def _rehearsal(rows: Rows, boosting: Boosting, progress: Progress) -> tuple[Summary, ...]:
    """Figures on kinds of faults that were not in the training rows.

    The model is trained without all injected kinds of the sets, then without each kind in turn, and
    scored on the kinds that were left out.
    """
    kinds = _set_kinds(rows)
    injected = (rows.origin == Origin.INJECTED) & np.isin(rows.kind, kinds)
    summaries = []
    for number, left_out in enumerate([kinds, *([kind] for kind in kinds)]):
        progress("rehearsing", number, len(kinds) + 1)
        unseen = injected & np.isin(rows.kind, left_out)
        name = EVERY_KIND if len(left_out) > 1 else f"without {left_out[0]}"
        summaries.append(_without(rows, boosting, name, unseen))
    return tuple(summaries)


def _left_out(rows: Rows, boosting: Boosting, progress: Progress) -> tuple[Summary, ...]:
    """Figures on each set, by a model that was trained on the others."""
    names = _sets(rows)
    summaries = []
    for number, name in enumerate(names):
        progress("leaving out sets", number, len(names))
        summaries.append(_without(rows, boosting, name, rows.source == name))
    return tuple(summaries)


def _without(rows: Rows, boosting: Boosting, name: str, unseen: NDArray[np.bool_]) -> Summary:
    scores = cross_fit(rows, folds=2, boosting=boosting, progress=lambda *_: None, without=unseen)
    answers = Answers(
        answers=answer_rows(rows, scores).answers, score=scores.combined, confidence=None
    )
    return summarise(name, "cross-fitted", _scored(rows, answers, unseen))


def _scored(rows: Rows, answers: Answers, chosen: NDArray[np.bool_]) -> list[Scored]:
    """Those of the chosen that are counted."""
    confidence = answers.confidence
    return [
        Scored(
            id="",
            incident=bool(rows.incident[row]),
            kind=str(rows.kind[row]),
            group=str(rows.group[row]),
            answer=answers.answers[row],
            score=float(answers.score[row]),
            confidence=None if confidence is None else float(confidence[row]),
        )
        for row in np.flatnonzero(chosen & rows.counted)
    ]


def _sets(rows: Rows) -> list[str]:
    return list(dict.fromkeys(rows.source[rows.counted].tolist()))


def _set_kinds(rows: Rows) -> list[str]:
    kept = rows.counted & (rows.origin == Origin.INJECTED)
    return sorted(set(rows.kind[kept].tolist()))


def _hash(folder: Path) -> str:
    """A hash of the names and bytes of all files of a set."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            whole.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()
