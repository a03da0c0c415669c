"""Training rows: the vector of features and the label of every alert."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Self

import numpy as np
from numpy.typing import NDArray

from models.features.evidence import Evidence
from models.features.signals import ROLES
from models.features.vector import features
from models.features.window import DAY_SLOTS, Window, window
from models.training.injection.fault_injection import ONE_METRIC, inject
from models.training.injection.idle_host import idle
from models.training.injection.made_siblings import made_siblings
from models.training.injection.service_roles import with_service_roles
from models.training.injection.signatures import SIGNATURES
from models.training.labelled_sets import LabelledSet, Patch, RecordedTarget, evidence_at

_LEAST_PAST_ROWS = 4 * 1440
_TRIES = 4
_QUIET_SHARE = 0.003
_ALSO_FEWER = 0.4
# Of the made rows, those with siblings, those judged seconds after the fault as the service does,
# and of the everyday alerts of groups those that all members raise.
_IN_GROUP, _FRESH, _TOGETHER = 0.6, 0.4, 0.5
# The share of rows whose past is as short as that of a new host.
_ALSO_SHORTER, _SHORTER_DAYS = 0.3, (1.0, 5.0)
# Of the rows with fewer roles, 60 % keep node_exporter's roles, 20 % one role, the others each role
# by chance.
_NODE_EXPORTER_UP_TO, _ONE_ROLE_UP_TO, _KEEP_ROLE = 0.6, 0.8, 0.5
# A series with less deviation counts as constant.
_LEAST_DEVIATION = 1e-4
# The source of rows that are of no set.
_MADE = "made"
# The kind of alerts that have a person's feedback.
JUDGED = "judged"


class Origin(StrEnum):
    INJECTED = "injected"
    NATURAL = "natural"


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Arrays of equal length, with an entry for each alert.

    The arrays are `vectors` [rows, features], and for each alert whether it was an incident, its
    kind, group, origin and set (`source`). A group is never split between training and test.
    Figures are of the `counted` rows; the others were made for training.
    """

    vectors: NDArray[np.float32]
    incident: NDArray[np.bool_]
    kind: NDArray[np.str_]
    group: NDArray[np.str_]
    origin: NDArray[np.str_]
    source: NDArray[np.str_]
    counted: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.incident)

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
class _Label:
    incident: bool
    kind: str
    group: str
    origin: Origin


@dataclass(kw_only=True)
class _RowsBuilder:
    source: str = _MADE
    counted: bool = False
    vectors: list[NDArray[np.float64]] = field(default_factory=list)
    labels: list[tuple[bool, str, str, str]] = field(default_factory=list)

    def add(self, vector: NDArray[np.float64], label: _Label) -> None:
        self.vectors.append(vector)
        self.labels.append((label.incident, label.kind, label.group, label.origin.value))

    def rows(self) -> Rows:
        incident, kind, group, origin = zip(*self.labels, strict=True)
        return Rows(
            vectors=np.array(self.vectors, dtype=np.float32),
            incident=np.array(incident),
            kind=np.array(kind),
            group=np.array(group),
            origin=np.array(origin),
            source=np.array([self.source] * len(incident)),
            counted=np.array([self.counted] * len(incident)),
        )


def rows_of_set(labelled: LabelledSet, *, seed: int) -> Rows:
    """A row for each alert of a labelled set; some alerts have a second row with fewer roles."""
    rng = np.random.default_rng(seed)
    own = _RowsBuilder(source=labelled.name, counted=True)
    fewer = _RowsBuilder(source=labelled.name)
    for line, (alert, evidence) in enumerate(labelled):
        grids = window(evidence)
        origin = Origin.INJECTED if line in labelled.patches else Origin.NATURAL
        label = _Label(incident=alert.incident, kind=alert.kind, group=alert.group, origin=origin)
        own.add(features(grids, alert.roles).vector, label)
        if len(grids.roles) > 1 and rng.random() < _ALSO_FEWER:
            fewer.add(features(_fewer(grids, alert.roles, rng), alert.roles).vector, label)
    return Rows.joined([part.rows() for part in (own, fewer) if part.labels])


@dataclass(frozen=True, kw_only=True)
class JudgedAlert:
    """An alert with its evidence and a person's feedback."""

    evidence: Evidence
    roles: tuple[str, ...]
    incident: bool
    group: str


def judged_rows(judged: Sequence[JudgedAlert]) -> Rows:
    """A row for each alert. Figures leave these rows out: they are few, and people chose them."""
    builder = _RowsBuilder()
    for alert in judged:
        label = _Label(
            incident=alert.incident, kind=JUDGED, group=alert.group, origin=Origin.NATURAL
        )
        builder.add(features(window(alert.evidence), alert.roles).vector, label)
    return builder.rows()


def _fewer(grids: Window, alert_roles: tuple[str, ...], rng: np.random.Generator) -> Window:
    """Keep only the roles of node_exporter, only the alert's first role, or a random sample."""
    how = rng.random()
    if how < _NODE_EXPORTER_UP_TO:
        kept = np.array([role in ROLES or role in alert_roles for role in grids.roles])
    elif how < _ONE_ROLE_UP_TO:
        kept = np.array([role in alert_roles[:1] for role in grids.roles])
    else:
        kept = np.array([role in alert_roles or rng.random() < _KEEP_ROLE for role in grids.roles])
    return grids.only(kept)


def injected_rows(target: RecordedTarget, group: str, *, each: int, seed: int) -> Rows:
    """Rows of `each` injections of every kind, and of everyday alerts, half with a service's roles.

    An everyday alert is a moment of the first half at which a threshold would have fired.
    """
    rng = np.random.default_rng(seed)
    builder = _RowsBuilder()
    with_service = with_service_roles(target, rng)
    hosts = (target, idle(with_service, rng), with_service, idle(with_service, rng))
    for kind in (*SIGNATURES, ONE_METRIC):
        often = 3 if kind == ONE_METRIC else SIGNATURES[kind].often
        for number in range(each * often):
            _add_injection(builder, hosts[number % len(hosts)], group, kind, rng)
    for number in range(8 * each):
        _add_natural(builder, hosts[number % len(hosts)], group, rng)
    return builder.rows()


@dataclass(frozen=True, kw_only=True)
class _MadeAlert:
    """An alert on `roles` at `row`: `together` says whether its siblings moved, too.

    Without known siblings it is None. A `fresh` one is judged as the service does within seconds.
    """

    row: int
    roles: tuple[str, ...]
    patches: tuple[Patch, ...] = ()
    together: bool | None = None
    fresh: bool = False


def _add_injection(
    builder: _RowsBuilder, target: RecordedTarget, group: str, kind: str, rng: np.random.Generator
) -> None:
    for _ in range(_TRIES):
        row = int(rng.integers(_LEAST_PAST_ROWS, len(target.values) - 1))
        fresh = rng.random() < _FRESH
        injection = inject(target, kind, row, rng, fresh=fresh)
        if injection is not None:
            grouped = injection.grouped or rng.random() < _IN_GROUP
            made = _MadeAlert(
                row=row,
                roles=injection.roles,
                patches=injection.patches,
                together=rng.random() < injection.together if grouped else None,
                fresh=fresh,
            )
            label = _Label(
                incident=injection.incident, kind=kind, group=group, origin=Origin.INJECTED
            )
            builder.add(_vector(target, made, rng), label)
            return


def _add_natural(
    builder: _RowsBuilder, target: RecordedTarget, group: str, rng: np.random.Generator
) -> None:
    for _ in range(_TRIES):
        column = int(rng.integers(target.values.shape[1]))
        values = target.values[: len(target.values) // 2, column].astype(np.float64)
        if values.std() < _LEAST_DEVIATION:
            continue
        low, high = np.quantile(values, (_QUIET_SHARE, 1 - _QUIET_SHARE))
        least = np.minimum.reduce([values[2:], values[1:-1], values[:-2]])
        most = np.maximum.reduce([values[2:], values[1:-1], values[:-2]])
        rows = np.flatnonzero((least > high) | (most < low)) + 2
        rows = rows[rows > _LEAST_PAST_ROWS]
        if len(rows):
            made = _MadeAlert(
                row=int(rng.choice(rows)),
                roles=(target.roles[column],),
                together=rng.random() < _TOGETHER if rng.random() < _IN_GROUP else None,
                fresh=rng.random() < _FRESH,
            )
            label = _Label(incident=False, kind="everyday", group=group, origin=Origin.NATURAL)
            builder.add(_vector(target, made, rng), label)
            return


def _vector(
    target: RecordedTarget, made: _MadeAlert, rng: np.random.Generator
) -> NDArray[np.float64]:
    evidence = evidence_at(target, target.start + made.row * target.step_s, made.patches)
    grids = window(evidence)
    if target.noise:
        grids = replace(grids, floors=np.array(target.noise))
    if made.fresh:
        grids = grids.settled()
    if made.together is not None:
        peers = made_siblings(target, evidence, rng, together=made.together)
        grids = replace(grids, peers=peers)
    if rng.random() < _ALSO_FEWER:
        grids = _fewer(grids, made.roles, rng)
    if rng.random() < _ALSO_SHORTER:
        days = rng.uniform(*_SHORTER_DAYS)
        grids = replace(grids, history=grids.history[:, : int(days * DAY_SLOTS)])
    return features(grids, made.roles).vector
