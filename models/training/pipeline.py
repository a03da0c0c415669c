"""From labelled sets to a model in its folder, with its card: what was learnt, and how well."""

import hashlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from joblib import Parallel, delayed

from models.features.vector import NAMES
from models.inference.artifact import CARD, Entry, packed, save
from models.inference.parameters import Learned
from models.inference.scorers import Readings
from models.training.boosting import fit
from models.training.cross_fit import MIX, answers, cross_fit, finish
from models.training.dataset import Judged, Origin, Rows, of_injections, of_judged, of_set
from models.training.evaluation import Scored, Summary, summary
from models.training.labelled_sets import LabelledSet, Target, read
from models.training.model_card import EVERY_KIND

_MINUTE_S = 60
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Made:
    learned: Learned
    figures: tuple[Summary, ...]
    rehearsal: tuple[Summary, ...]
    data: Mapping[str, str]
    seed: int
    rows: int
    incidents: int


def make(  # noqa: PLR0913 - each is one choice of whoever trains, all by name
    folders: Sequence[Path],
    *,
    seed: int,
    each: int,
    folds: int,
    rehearse: bool,
    progress: Progress,
    more: Sequence[tuple[Target, str]] = (),
    judged: Sequence[Judged] = (),
) -> Made:
    """A model of all the sets, with figures on groups that its parts had not seen.

    `each` is how many cases of each kind are injected into each target; `more` are further
    targets to inject into, with their groups; `judged` are alerts that people judged. Raises
    models.sets.SetError.
    """
    sets = [read(folder) for folder in folders]
    rows = _rows(sets, more, judged, seed=seed, each=each, progress=progress)
    crossed = cross_fit(
        rows, folds=folds, seed=seed, progress=lambda at, of: progress("cross-fitting", at, of)
    )
    progress("fitting", 0, 1)
    learned = finish(rows, fit(rows, seed), crossed, seed)
    progress("fitting", 1, 1)
    return Made(
        learned=learned,
        figures=_figures(rows, crossed),
        rehearsal=_rehearsal(rows, seed, progress) if rehearse else (),
        data={folder.name: _hash(folder) for folder in folders},
        seed=seed,
        rows=len(rows),
        incidents=int(rows.incident.sum()),
    )


def write(made: Made, folder: Path, version: str | None = None) -> Entry:
    """Writes the model, its manifest and its card. The version is that of its bytes."""
    data = packed(made.learned)
    version = version or f"model-{hashlib.sha256(data).hexdigest()[:12]}"
    entry = save(folder, version, made.learned)
    card: dict[str, Any] = {
        "version": version,
        "sha256": entry.sha256,
        "bytes": len(data),
        "data": dict(made.data),
        "seed": made.seed,
        "features": len(NAMES),
        "rows": made.rows,
        "incidents": made.incidents,
        "limits": asdict(made.learned.limits),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
        },
        "figures": [one.as_dict() for one in made.figures],
        "rehearsal": [one.as_dict() for one in made.rehearsal],
    }
    path = folder / CARD
    path.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return entry


def _rows(  # noqa: PLR0913 - where rows come from, and how many
    sets: Sequence[LabelledSet],
    more: Sequence[tuple[Target, str]],
    judged: Sequence[Judged],
    *,
    seed: int,
    each: int,
    progress: Progress,
) -> Rows:
    targets = {one.name: one for labelled in sets for one in labelled.targets.values()}
    group = {alert.target: alert.group for labelled in sets for alert in labelled.alerts}
    # Injections count in minutes.
    fine = [(one, group[name]) for name, one in targets.items() if one.step_s == _MINUTE_S]
    work = [delayed(of_set)(one, seed=seed) for one in sets]
    work += [
        delayed(of_injections)(one, name, each=each, seed=seed + number)
        for number, (one, name) in enumerate([*fine, *more], start=1)
    ]
    parts = []
    for part in Parallel(n_jobs=-1, return_as="generator")(work):
        parts.append(part)
        progress("alerts", len(parts), len(work))
    if judged:
        parts.append(of_judged(judged))
    return Rows.joined(parts)


def _figures(rows: Rows, crossed: Readings) -> tuple[Summary, ...]:
    """By set, each group judged with limits and a calibration made without it."""
    answered, score, confidence = answers(rows, crossed)
    found = []
    for name in dict.fromkeys(rows.source.tolist()):
        if name == "made":
            continue
        scored = [
            Scored(
                id="",
                incident=bool(rows.incident[line]),
                kind=str(rows.kind[line]),
                answer=answered[line],
                score=float(score[line]),
                confidence=float(confidence[line]),
            )
            for line in np.flatnonzero(rows.source == name)
        ]
        found.append(summary(str(name), "cross-fitted", scored))
    return tuple(found)


def _rehearsal(rows: Rows, seed: int, progress: Progress) -> tuple[Summary, ...]:
    """As with kinds that nobody thought of.

    Trained without any injected kind of the sets, then without one of them in turn, and asked
    about those.
    """
    injected = (rows.origin == Origin.INJECTED) & np.isin(rows.kind, _set_kinds(rows))
    kinds = _set_kinds(rows)
    found = []
    for number, left_out in enumerate([kinds, *([kind] for kind in kinds)]):
        progress("rehearsing", number, len(kinds) + 1)
        unseen = injected & np.isin(rows.kind, left_out)
        crossed = cross_fit(rows, folds=2, seed=seed, progress=lambda *_: None, without=unseen)
        answered, _, _ = answers(rows, crossed)
        raw = crossed.combined(MIX)
        scored = [
            Scored(
                id="",
                incident=bool(rows.incident[line]),
                kind=str(rows.kind[line]),
                answer=answered[line],
                score=float(raw[line]),
                confidence=None,
            )
            for line in np.flatnonzero(unseen & (rows.source != "made"))
        ]
        name = EVERY_KIND if len(left_out) > 1 else f"without {left_out[0]}"
        found.append(summary(name, "cross-fitted", scored))
    return tuple(found)


def _set_kinds(rows: Rows) -> list[str]:
    kept = (rows.source != "made") & (rows.origin == Origin.INJECTED)
    return sorted(set(rows.kind[kept].tolist()))


def _hash(folder: Path) -> str:
    """Over the names and bytes of all the files of a set."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            whole.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()
