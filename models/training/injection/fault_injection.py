"""Injects faults and look-alikes into recorded metrics, for training.

A signature lists the metrics that move, their direction and their speed. It is added to the
target's own recorded values with their noise, so that an injection differs from the recording only
by the change itself. Metrics that are not in a signature stay as recorded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from models.features.vector import GROUP_OF
from models.training.injection.signatures import SIGNATURES, Signature
from models.training.labelled_sets import Patch, RecordedTarget

Floats = NDArray[np.float64]
Rng = np.random.Generator

_DAY_ROWS = 1440
_PAST_ROWS = 7 * _DAY_ROWS
_LAG_ROWS = {"load1": 1.0, "load5": 5.0, "load15": 15.0}
_FRESH_MINUTES = (1, 3)
_FIRES_Z = 3.0
_MOST_FIRED = 3
# The share of days without the job, and of roles that an injection does not move.
_LEFT_OUT = 0.15
# A fault moves a role by so many times what counts as a deviation.
_NOISES = 4.0
_IDLE, _MOST_IDLE, _MOST_HEADROOM = 0.5, 8.0, 4.0
_UNMOVED = 0.08
# A series with less deviation counts as constant.
_LEAST_DEVIATION = 1e-4
ONE_METRIC = "one_metric"
_USED = ("cpu", "memory", "space", "up")
_RISING_ONLY = frozenset({"cpu", "space", "memory", "disk_busy"})


@dataclass(frozen=True, kw_only=True)
class Injection:
    """The `patches` for `labelled_sets.evidence_at`, and the roles on which an alert would fire.

    `together` is the probability that siblings show the same, and `grouped` says that it has some.
    """

    kind: str
    incident: bool
    row: int
    patches: tuple[Patch, ...]
    roles: tuple[str, ...]
    together: float
    grouped: bool


def inject(
    target: RecordedTarget, kind: str, row: int, rng: Rng, *, fresh: bool = False
) -> Injection | None:
    """Inject a fault before an alert at `row`, a `fresh` one in the minutes right before it.

    Returns None if no alert would have fired.
    """
    signature = _one_metric(target, rng) if kind == ONE_METRIC else SIGNATURES[kind]
    least, most = _FRESH_MINUTES if fresh else signature.minutes
    length = int(rng.integers(least, most + 1))
    course = _course(signature.course, length, rng)
    now = _Overlay(target, signature, _sizes(target, signature, rng), row)
    before = now
    if signature.earlier:
        usual = replace(signature, add=signature.earlier, scale={})
        before = _Overlay(target, usual, _sizes(target, usual, rng), row)
    patches: list[Patch] = []
    days = _earlier_days(signature, rng)
    ran = int(rng.integers(5, 50))
    for day in (0, *days):
        late = 0 if day == 0 else int(rng.integers(-16, 17))
        end = row + 1 - day * _DAY_ROWS + late
        # The job of an earlier day ran to its end.
        more = 0 if day == 0 else ran
        if end - length < 0:
            continue
        whole = np.concatenate([course, np.full(more, course[-1])])
        overlay = before if day else now
        patches += overlay.patches(end - length, whole, rng)
    roles = _fired(target, patches, row)
    if not roles:
        return None
    return Injection(
        kind=kind,
        incident=signature.incident,
        row=row,
        patches=tuple(patches),
        roles=roles,
        together=signature.together,
        grouped=signature.grouped,
    )


def _earlier_days(signature: Signature, rng: Rng) -> list[int]:
    """The days on which a job ran before, some left out; at least one."""
    every = signature.every_days
    if not every:
        return []
    oldest = 15 if every > 1 else int(rng.choice([2, 3, 4, 5, 6, 7, 10, 15]))
    days = [day for day in range(every, oldest, every) if rng.random() > _LEFT_OUT]
    return days or [every]


def _one_metric(target: RecordedTarget, rng: Rng) -> Signature:
    """A jump of one series alone: a faulty sensor, not a fault of the machine.

    What is used has a user: the processor, memory, and disk space.
    """
    moving = [
        role
        for column, role in enumerate(target.roles)
        if GROUP_OF.get(role, "cpu") not in _USED
        and target.values[:, column].std() > _LEAST_DEVIATION
    ]
    role = str(rng.choice(moving))
    return Signature(incident=False, add={role: (3, 14)}, minutes=(3, 9), jitter=0.0)


def _course(name: str, length: int, rng: Rng) -> Floats:
    at = np.arange(1, length + 1, dtype=np.float64)
    if name == "ramp":
        return np.asarray((at / length) ** rng.uniform(0.7, 1.6))
    if name == "burst":
        return np.asarray(np.exp(-(at - 1) / max(length * rng.uniform(0.5, 1.5), 1.0)))
    rise = np.minimum(at / rng.uniform(0.5, 4.0), 1.0)
    if name == "waves":
        period = rng.uniform(2, 8)
        return np.asarray(rise * (0.55 + 0.45 * np.sin(2 * np.pi * at / period)))
    return np.asarray(rise)


def _sizes(target: RecordedTarget, signature: Signature, rng: Rng) -> dict[int, tuple[str, float]]:
    """The change by column: ("add", spreads) or ("scale", factor)."""
    strength = rng.beta(1.2, 1.2)
    # A host that was idle ever since moves farther than one that was busy.
    idle = _MOST_IDLE ** rng.uniform() if rng.random() < _IDLE else 1.0
    sizes: dict[int, tuple[str, float]] = {}
    for column, role in enumerate(target.roles):
        named = role in signature.add or role in signature.scale
        group = role if named else GROUP_OF.get(role, "")
        for how, spans in (("add", signature.add), ("scale", signature.scale)):
            if group not in spans or (role != group and rng.random() < _UNMOVED):
                continue
            least, most = spans[group]
            own = np.clip(strength + rng.normal(0, 0.25), 0, 1)
            size = least + own * (most - least)
            sizes[column] = (how, size * idle if how == "add" else size)
    return sizes


@dataclass(frozen=True)
class _Overlay:
    """One injection into a target; `sizes` by column, `row` is the alert's."""

    target: RecordedTarget
    signature: Signature
    sizes: Mapping[int, tuple[str, float]]
    row: int

    def patches(self, start: int, course: Floats, rng: Rng) -> list[Patch]:
        """The changed values of each column, from row `start` on."""
        patches: list[Patch] = []
        values = self.target.values
        stop = min(start + len(course), self.row + 1)
        past = values[max(0, self.row - _PAST_ROWS) : self.row + 1]
        daily = rng.uniform(0.8, 1.2)
        headroom = _MOST_HEADROOM ** rng.uniform()
        for column, (how, size) in self.sizes.items():
            role = self.target.roles[column]
            before = values[start:stop, column].astype(np.float64)
            way = _lagged(course, _LAG_ROWS.get(role, 0.0))[: len(before)]
            way = way * (1 + self.signature.jitter * rng.normal(size=len(before)))
            own = past[:, column]
            top = float(own.max())
            if how == "add":
                spread = max(float(own.std()), 0.02 * float(np.ptp(own)), 2e-3)
                if self.target.noise:
                    spread = max(spread, _NOISES * self.target.noise[column])
                now = before + way * size * spread * daily
            else:
                now = before * (1 + way * (size - 1) * daily)
            # A recorded share is at most one, which the machine may never have come near to; a
            # series with larger values has a unit.
            share = top <= 1 and GROUP_OF.get(role) in _RISING_ONLY
            most = headroom if share else max(3 * headroom * top, 1.0)
            now = np.clip(now, 0.0, max(most, top))
            patches.append(Patch(column=column, row=start, values=now.astype(np.float32)))
        return patches


def _lagged(course: Floats, minutes: float) -> Floats:
    if not minutes:
        return course
    out, level = np.empty(len(course)), 0.0
    for at, value in enumerate(course):
        level += (value - level) / minutes
        out[at] = level
    return out


def _fired(target: RecordedTarget, patches: list[Patch], row: int) -> tuple[str, ...]:
    """The roles whose threshold on the past would have fired, the farthest first."""
    past = target.values[max(0, row - _PAST_ROWS) : row - 180]
    far: list[tuple[float, str]] = []
    for patch in patches:
        if patch.row + len(patch.values) < row:
            continue
        column = past[:, patch.column]
        spread = max(float(column.std()), 2e-3)
        low, high = np.quantile(column, (0.01, 0.99))
        last = patch.values[-2:]
        beyond = max(float(last.min() - high), float(low - last.max())) / spread
        moved = abs(float(last.mean()) - float(np.median(column))) / spread
        if beyond > 0 or moved > _FIRES_Z:
            far.append((moved, target.roles[patch.column]))
    far.sort(reverse=True)
    return tuple(role for _, role in far[:_MOST_FIRED])
