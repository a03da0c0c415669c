"""Training rows: every alert as its vector of features with what it was."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Self

import numpy as np
from numpy.typing import NDArray

from models.features.evidence import Evidence
from models.features.signals import ROLES
from models.features.vector import features
from models.features.window import Window, window
from models.training.fault_injection import ONE_METRIC, SIGNATURES, inject
from models.training.labelled_sets import LabelledSet, Patch, Target, view

_LEAST_PAST_ROWS = 4 * 1440
_TRIES = 4
_QUIET_SHARE = 0.003
_ALSO_FEWER = 0.4


class Origin(StrEnum):
    INJECTED = "injected"
    NATURAL = "natural"


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Arrays of one length, an entry an alert.

    `vectors` [rows, features], whether it was an incident, its kind, its group (never split
    between training and test), its origin, and the name of its set, or "made": such rows train
    and count in no figure.
    """

    vectors: NDArray[np.float32]
    incident: NDArray[np.bool_]
    kind: NDArray[np.str_]
    group: NDArray[np.str_]
    origin: NDArray[np.str_]
    source: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.incident)

    @property
    def labelled_as_it_happened(self) -> NDArray[np.bool_]:
        """Rows of those sets that hold incidents that nobody injected."""
        natural = self.origin == Origin.NATURAL
        with_incidents = np.unique(self.source[natural & self.incident])
        return np.asarray(np.isin(self.source, with_incidents) & (self.source != "made") & natural)

    def only(self, kept: NDArray[np.bool_]) -> Self:
        return type(self)(**{one.name: getattr(self, one.name)[kept] for one in fields(self)})

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        return cls(
            **{
                one.name: np.concatenate([getattr(part, one.name) for part in parts])
                for one in fields(cls)
            }
        )


@dataclass(frozen=True, kw_only=True)
class _Told:
    incident: bool
    kind: str
    group: str
    origin: Origin


@dataclass(kw_only=True)
class _Maker:
    source: str
    vectors: list[NDArray[np.float64]]
    labels: list[tuple[bool, str, str, str]]

    def add(self, vector: NDArray[np.float64], told: "_Told") -> None:
        self.vectors.append(vector)
        self.labels.append((told.incident, told.kind, told.group, told.origin.value))

    def rows(self) -> Rows:
        incident, kind, group, origin = zip(*self.labels, strict=True)
        return Rows(
            vectors=np.array(self.vectors, dtype=np.float32),
            incident=np.array(incident),
            kind=np.array(kind),
            group=np.array(group),
            origin=np.array(origin),
            source=np.array([self.source] * len(incident)),
        )


def of_set(labelled: LabelledSet, *, seed: int) -> Rows:
    """One row an alert of a labelled set, and some again as seen with fewer roles."""
    rng = np.random.default_rng(seed)
    made = _Maker(source=labelled.name, vectors=[], labels=[])
    fewer = _Maker(source="made", vectors=[], labels=[])
    for alert, evidence in labelled:
        seen = window(evidence)
        origin = Origin.NATURAL if alert.kind == "natural" else Origin.INJECTED
        told = _Told(incident=alert.incident, kind=alert.kind, group=alert.group, origin=origin)
        made.add(features(seen, alert.roles)[0], told)
        if len(seen.roles) > 1 and rng.random() < _ALSO_FEWER:
            fewer.add(features(_fewer(seen, alert.roles, rng), alert.roles)[0], told)
    return Rows.joined([one.rows() for one in (made, fewer) if one.labels])


@dataclass(frozen=True, kw_only=True)
class Judged:
    """An alert that a person judged, with its evidence."""

    evidence: Evidence
    roles: tuple[str, ...]
    incident: bool
    group: str


def of_judged(judged: Sequence[Judged]) -> Rows:
    """One row an alert that people judged. They count in no figure: few, and picked by hand."""
    made = _Maker(source="made", vectors=[], labels=[])
    for one in judged:
        told = _Told(incident=one.incident, kind="judged", group=one.group, origin=Origin.NATURAL)
        made.add(features(window(one.evidence), one.roles)[0], told)
    return made.rows()


def _fewer(seen: Window, asked: tuple[str, ...], rng: np.random.Generator) -> Window:
    """Only what node_exporter shows, or only what the alert speaks of, or by chance."""
    how = rng.random()
    if how < 0.6:  # noqa: PLR2004 - the common case
        kept = np.array([role in ROLES or role in asked for role in seen.roles])
    elif how < 0.8:  # noqa: PLR2004 - one metric alone
        kept = np.array([role in asked[:1] for role in seen.roles])
    else:
        kept = np.array([role in asked or rng.random() < 0.5 for role in seen.roles])  # noqa: PLR2004 - a coin
    return seen.only(kept)


def of_injections(target: Target, group: str, *, each: int, seed: int) -> Rows:
    """`each` cases a kind, and everyday alerts.

    Those are moments of the first half on which a threshold would have fired all the same.
    """
    rng = np.random.default_rng(seed)
    made = _Maker(source="made", vectors=[], labels=[])
    for kind in (*SIGNATURES, ONE_METRIC):
        for _ in range(each * (3 if kind == ONE_METRIC else 1)):
            _add_injection(made, target, group, kind, rng)
    for _ in range(8 * each):
        _add_natural(made, target, group, rng)
    return made.rows()


def _add_injection(
    made: _Maker, target: Target, group: str, kind: str, rng: np.random.Generator
) -> None:
    for _ in range(_TRIES):
        row = int(rng.integers(_LEAST_PAST_ROWS, len(target.values) - 1))
        found = inject(target, kind, row, rng)
        if found is not None:
            vector = _vector(target, row, found.roles, rng, found.patches)
            made.add(
                vector,
                _Told(incident=found.incident, kind=kind, group=group, origin=Origin.INJECTED),
            )
            return


def _add_natural(made: _Maker, target: Target, group: str, rng: np.random.Generator) -> None:
    for _ in range(_TRIES):
        column = int(rng.integers(target.values.shape[1]))
        values = target.values[: len(target.values) // 2, column].astype(np.float64)
        if values.std() < 1e-4:  # noqa: PLR2004 - a series that never moves
            continue
        low, high = np.quantile(values, (_QUIET_SHARE, 1 - _QUIET_SHARE))
        least = np.minimum.reduce([values[2:], values[1:-1], values[:-2]])
        most = np.maximum.reduce([values[2:], values[1:-1], values[:-2]])
        rows = np.flatnonzero((least > high) | (most < low)) + 2
        rows = rows[rows > _LEAST_PAST_ROWS]
        if len(rows):
            row = int(rng.choice(rows))
            vector = _vector(target, row, (target.roles[column],), rng)
            made.add(
                vector,
                _Told(incident=False, kind="everyday", group=group, origin=Origin.NATURAL),
            )
            return


def _vector(
    target: Target,
    row: int,
    asked: tuple[str, ...],
    rng: np.random.Generator,
    patches: tuple[Patch, ...] = (),
) -> NDArray[np.float64]:
    evidence = view(target, target.start + row * target.step_s, patches)
    seen = window(evidence)
    if rng.random() < _ALSO_FEWER:
        seen = _fewer(seen, asked, rng)
    return features(seen, asked)[0]
