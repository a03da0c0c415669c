"""Faults and look-alikes put into recorded metrics, for training.

A signature says which kinds of metrics move, which way, and how fast. It is laid over the
target's own recorded values, noise included, so that nothing but the change itself tells an
injection from what was recorded. What is not in a signature stays as it was recorded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from models.features.vector import GROUPS
from models.training.labelled_sets import Patch, Target

Floats = NDArray[np.float64]
Rng = np.random.Generator

_DAY_ROWS = 1440
_PAST_ROWS = 7 * _DAY_ROWS
_LAG_ROWS = {"load5": 5.0, "load15": 15.0}
_FIRES_Z = 3.0
_MOST_FIRED = 3
# Shares: of days without the job, of roles that a case leaves alone.
_LEFT_OUT = 0.15
_UNMOVED = 0.08


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What moves, which way and how fast.

    `add` moves by multiples of a role's own spread, `scale` multiplies; both by group of roles,
    as (least, most). `minutes` is how long ago it began when the alert is sent, `course` how it
    came: "step", "ramp", "waves" or "burst" (which fades again).
    """

    incident: bool
    add: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    scale: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    minutes: tuple[int, int] = (4, 12)
    course: str = "step"
    every_days: int = 0
    jitter: float = 0.15


_TRAFFIC = ("net_in", "net_out")
_TCP = ("connections", "closing", "opens")


def _all(groups: tuple[str, ...], span: tuple[float, float]) -> dict[str, tuple[float, float]]:
    return dict.fromkeys(groups, span)


SIGNATURES: Mapping[str, Signature] = {
    # A process that burns CPU and serves nobody.
    "runaway": Signature(
        incident=True,
        add={"cpu": (3, 8), "load": (2, 8)},
        scale=_all(_TRAFFIC, (0.8, 1.0)),
        minutes=(4, 30),
    ),
    "fork_storm": Signature(
        incident=True,
        add={"load": (5, 14), "cpu": (2, 6), "memory": (1, 4)},
        scale=_all(_TRAFFIC, (0.6, 1.0)),
        course="ramp",
    ),
    "starved_cpu": Signature(
        incident=True,
        add={"load": (3, 9)},
        scale={"cpu": (0.5, 1.0), **_all(_TRAFFIC, (0.4, 0.8)), "connections": (1.0, 1.6)},
    ),
    "leak": Signature(
        incident=True,
        add={"memory": (0.5, 4), "load": (0.1, 1.5), "swap": (0, 2)},
        course="ramp",
        minutes=(8, 120),
    ),
    "thrashing": Signature(
        incident=True,
        add={
            "memory": (1, 4),
            "swap": (3, 12),
            "disk_in": (1, 6),
            "disk_busy": (2, 8),
            "disk_slow": (2, 8),
            "load": (2, 8),
        },
        scale=_all(_TRAFFIC, (0.4, 0.9)),
        minutes=(4, 25),
    ),
    "slow_disk": Signature(
        incident=True,
        add={"disk_slow": (3, 16), "disk_busy": (2, 14), "load": (0.5, 4)},
        scale=_all(_TRAFFIC, (0.5, 0.95)),
    ),
    "runaway_writes": Signature(
        incident=True,
        add={"disk_out": (4, 14), "disk_busy": (2, 10), "disk_slow": (2, 9), "space": (1, 5)},
        scale=_all(_TRAFFIC, (0.7, 1.0)),
        minutes=(6, 60),
    ),
    "full_disk": Signature(
        incident=True,
        add={"space": (2, 6), "errors": (1, 6)},
        scale={"disk_out": (0.0, 0.3), "net_out": (0.3, 0.8), "cpu": (0.6, 1.0)},
        minutes=(4, 30),
    ),
    "loss": Signature(
        incident=True,
        add={"errors": (3, 18), "resets": (1, 14)},
        scale=_all(_TRAFFIC, (0.5, 0.95)),
    ),
    "partition": Signature(
        incident=True,
        add={"errors": (1, 8)},
        scale={**_all(_TRAFFIC, (0.0, 0.3)), "cpu": (0.2, 0.7), "opens": (0.5, 2.5)},
        minutes=(3, 15),
    ),
    "hung": Signature(
        incident=True,
        add={"connections": (1, 6), "closing": (0, 4)},
        scale={**_all(_TRAFFIC, (0.1, 0.6)), "cpu": (0.2, 0.8), "opens": (0.1, 0.7)},
        minutes=(4, 20),
    ),
    "crash_loop": Signature(
        incident=True,
        add={"resets": (2, 10), "cpu": (1, 4), "opens": (1, 5), "errors": (0, 4)},
        scale={**_all(_TRAFFIC, (0.3, 0.7)), "connections": (0.3, 0.8)},
        course="waves",
        minutes=(6, 40),
    ),
    "slow_dependency": Signature(
        incident=True,
        add={"connections": (2, 9), "errors": (0.5, 5)},
        scale={"net_out": (0.4, 0.85), "cpu": (0.5, 0.95)},
        minutes=(4, 30),
    ),
    "connection_leak": Signature(
        incident=True,
        add={"connections": (3, 12), "memory": (0.2, 2)},
        course="ramp",
        minutes=(10, 90),
    ),
    "flood": Signature(
        incident=True,
        add={
            "net_in": (4, 14),
            "opens": (4, 14),
            "connections": (2, 12),
            "errors": (2, 12),
            "cpu": (1, 5),
            "load": (1, 5),
        },
        scale={"net_out": (0.6, 1.1)},
    ),
    "overloaded": Signature(
        incident=True,
        add={
            **_all(("cpu", "load"), (1.5, 7)),
            **_all(_TCP, (1.5, 8)),
            "net_in": (2, 9),
            "errors": (1, 10),
            "resets": (0.5, 10),
        },
        scale={"net_out": (0.9, 1.4)},
        minutes=(3, 9),
    ),
    "saturated": Signature(
        incident=True,
        add={
            "cpu": (2, 7),
            "load": (2, 9),
            "net_in": (1, 5),
            "connections": (2, 9),
            "errors": (0.5, 6),
        },
        minutes=(4, 25),
    ),
    "port_scan": Signature(
        incident=True,
        add={"opens": (4, 14), "resets": (4, 14), "closing": (2, 8)},
        minutes=(4, 25),
    ),
    "bad_neighbour": Signature(
        incident=True,
        add={"disk_slow": (2, 9), "load": (1, 6), "errors": (0, 3)},
        scale={"cpu": (0.6, 1.0), **_all(_TRAFFIC, (0.5, 0.9))},
        course="waves",
        minutes=(6, 40),
    ),
    "spinning_leak": Signature(
        incident=True,
        add={"memory": (1, 5), "cpu": (1, 6), "load": (1, 5)},
        scale=_all(_TRAFFIC, (0.5, 1.0)),
        course="ramp",
        minutes=(8, 60),
    ),
    "scan": Signature(
        incident=False,
        add={"disk_in": (3, 12), "disk_busy": (2, 8), "cpu": (0.5, 3), "disk_slow": (0, 4)},
        minutes=(5, 40),
        every_days=7,
    ),
    "reloaded": Signature(
        incident=False,
        add={"opens": (2, 10), "closing": (2, 10), "resets": (0, 8)},
        scale={"connections": (0.4, 0.9)},
        course="burst",
        minutes=(3, 7),
    ),
    "busy_hour": Signature(
        incident=False,
        add={**_all(_TRAFFIC, (1, 4)), "connections": (0.5, 3), "cpu": (0.5, 3)},
        course="ramp",
        minutes=(20, 120),
    ),
    "sync": Signature(
        incident=False,
        add={"net_out": (3, 12), "net_in": (0, 4), "disk_in": (1, 6), "cpu": (0, 2)},
        minutes=(4, 25),
        every_days=1,
    ),
    "udp_burst": Signature(incident=False, add={"udp": (3, 14), "net_in": (0, 3)}),
    "surge": Signature(
        incident=False,
        add={
            **_all(_TRAFFIC, (1.5, 7)),
            **_all(_TCP, (0.5, 5)),
            "cpu": (0.7, 4.5),
            "load": (0.3, 3.5),
        },
        minutes=(4, 40),
    ),
    "busier_for_good": Signature(
        incident=False,
        scale={
            **_all(_TRAFFIC, (1.4, 2.4)),
            **_all(_TCP, (1.3, 2.2)),
            **_all(("cpu", "load"), (1.2, 2.0)),
        },
        minutes=(10, 180),
    ),
    "download": Signature(
        incident=False,
        add={"net_in": (3, 14), "disk_out": (2, 9), "cpu": (0, 2), "disk_busy": (0, 5)},
        minutes=(4, 25),
    ),
    "drained": Signature(
        incident=False,
        scale={
            **_all(_TRAFFIC, (0.05, 0.5)),
            **_all(_TCP, (0.05, 0.5)),
            **_all(("cpu", "load"), (0.2, 0.7)),
        },
        course="ramp",
        minutes=(6, 30),
    ),
    "rollout": Signature(
        incident=False,
        add={"cpu": (1.5, 9), **_all(_TCP, (1, 10)), "resets": (0, 12), "load": (0, 1)},
        scale={"net_in": (0.5, 1.0)},
        minutes=(3, 7),
    ),
    "restarted": Signature(
        incident=False,
        add={"cpu": (1, 6), "disk_in": (1, 7), "opens": (0, 5)},
        scale={"memory": (0.6, 0.95), "connections": (0.3, 0.9)},
        course="burst",
        minutes=(3, 10),
    ),
    "warm_up": Signature(
        incident=False,
        add={"disk_in": (3, 12), "cpu": (1, 5), "disk_busy": (1, 6), "load": (0.3, 3)},
        course="burst",
        minutes=(4, 15),
    ),
    "page_cache": Signature(
        incident=False,
        add={"disk_in": (2, 9), "disk_busy": (0, 4)},
        minutes=(4, 30),
    ),
    "log_rotation": Signature(
        incident=False,
        add={"cpu": (1, 5), "disk_in": (1, 6), "disk_out": (1, 6), "disk_slow": (0, 4)},
        course="burst",
        minutes=(3, 8),
        every_days=1,
    ),
    "daily_job": Signature(
        incident=False,
        add={
            "cpu": (2, 8),
            "load": (1, 7),
            "disk_out": (2, 12),
            "disk_slow": (1, 12),
            "disk_busy": (1, 10),
        },
        minutes=(4, 20),
        every_days=1,
    ),
    "daily_backup": Signature(
        incident=False,
        add={
            "net_out": (2, 11),
            "disk_in": (1, 11),
            "disk_slow": (1, 9),
            "disk_busy": (1, 9),
            "cpu": (0.5, 4),
        },
        minutes=(4, 20),
        every_days=1,
    ),
    "daily_report": Signature(
        incident=False,
        add={"cpu": (2, 9), "load": (1, 8), "memory": (0, 3)},
        minutes=(4, 20),
        every_days=1,
    ),
    "daily_restart": Signature(
        incident=False,
        add={"opens": (1, 8), "resets": (1, 10), "cpu": (1, 6)},
        scale={**_all(_TRAFFIC, (0.2, 0.8)), "connections": (0.2, 0.8)},
        minutes=(3, 7),
        every_days=1,
    ),
    "weekly_job": Signature(
        incident=False,
        add={"cpu": (2, 9), "load": (1, 8), "disk_in": (2, 10), "disk_busy": (1, 10)},
        minutes=(4, 20),
        every_days=7,
    ),
}
ONE_METRIC = "one_metric"
_RISING_ONLY = frozenset({"cpu", "space", "memory", "disk_busy"})
_GROUP_OF = {role: group for group, roles in GROUPS.items() for role in roles}


@dataclass(frozen=True, kw_only=True)
class Injection:
    """`patches` for `models.sets.view`, and the roles on which an alert would fire."""

    kind: str
    incident: bool
    row: int
    patches: tuple[Patch, ...]
    roles: tuple[str, ...]


def inject(target: Target, kind: str, row: int, rng: Rng) -> Injection | None:
    """A case of a kind that an alert at `row` would see; None where nothing would have fired."""
    signature = _one_metric(target, rng) if kind == ONE_METRIC else SIGNATURES[kind]
    length = int(rng.integers(signature.minutes[0], signature.minutes[1] + 1))
    course = _course(signature.course, length, rng)
    sizes = _sizes(target, signature, rng)
    patches: list[Patch] = []
    days = _earlier_days(signature, rng)
    ran = int(rng.integers(5, 50))
    for day in (0, *days):
        late = 0 if day == 0 else int(rng.integers(-16, 17))
        end = row + 1 - day * _DAY_ROWS + late
        # A job of an earlier day ran to its end.
        more = 0 if day == 0 else ran
        if end - length < 0:
            continue
        whole = np.concatenate([course, np.full(more, course[-1])])
        patches += _laid(target, signature, sizes, end - length, whole, row, rng)
    roles = _fired(target, patches, row)
    if not roles:
        return None
    return Injection(
        kind=kind, incident=signature.incident, row=row, patches=tuple(patches), roles=roles
    )


def _earlier_days(signature: Signature, rng: Rng) -> list[int]:
    """A job may be new, and is left out now and then; on one day at least it was seen."""
    every = signature.every_days
    if not every:
        return []
    oldest = 15 if every > 1 else int(rng.choice([2, 3, 4, 5, 6, 7, 10, 15]))
    days = [day for day in range(every, oldest, every) if rng.random() > _LEFT_OUT]
    return days or [every]


def _one_metric(target: Target, rng: Rng) -> Signature:
    """A single series that jumps while nothing else does: a faulty sensor, not a fault."""
    moving = [
        role
        for column, role in enumerate(target.roles)
        if role in _GROUP_OF and target.values[:, column].std() > 1e-4  # noqa: PLR2004
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


def _sizes(target: Target, signature: Signature, rng: Rng) -> dict[int, tuple[str, float]]:
    """By column what happens to it: ("add", spreads) or ("scale", factor)."""
    strength = rng.beta(1.2, 1.2)
    found: dict[int, tuple[str, float]] = {}
    for column, role in enumerate(target.roles):
        group = role if role in signature.add else _GROUP_OF.get(role, "")
        for how, spans in (("add", signature.add), ("scale", signature.scale)):
            if group not in spans or (role != group and rng.random() < _UNMOVED):
                continue
            least, most = spans[group]
            mine = np.clip(strength + rng.normal(0, 0.25), 0, 1)
            found[column] = (how, least + mine * (most - least))
    return found


def _laid(  # noqa: PLR0913, PLR0917 - each is one fact about the case
    target: Target,
    signature: Signature,
    sizes: Mapping[int, tuple[str, float]],
    start: int,
    course: Floats,
    row: int,
    rng: Rng,
) -> list[Patch]:
    found: list[Patch] = []
    stop = min(start + len(course), row + 1)
    past = target.values[max(0, row - _PAST_ROWS) : row + 1]
    daily = rng.uniform(0.8, 1.2)
    for column, (how, size) in sizes.items():
        role = target.roles[column]
        was = target.values[start:stop, column].astype(np.float64)
        way = _lagged(course, _LAG_ROWS.get(role, 0.0))[: len(was)]
        way = way * (1 + signature.jitter * rng.normal(size=len(was)))
        mine = past[:, column]
        top = float(mine.max())
        if how == "add":
            spread = max(float(mine.std()), 0.02 * float(np.ptp(mine)), 2e-3)
            now = was + way * size * spread * daily
        else:
            now = was * (1 + way * (size - 1) * daily)
        # Shares end at one; what is larger has a unit.
        share = top <= 1 and _GROUP_OF.get(role) in _RISING_ONLY
        most = 1.0 if share else max(3 * top, 1.0)
        now = np.clip(now, 0.0, max(most, top))
        found.append(Patch(column=column, row=start, values=now.astype(np.float32)))
    return found


def _lagged(course: Floats, minutes: float) -> Floats:
    if not minutes:
        return course
    out, level = np.empty(len(course)), 0.0
    for at, value in enumerate(course):
        level += (value - level) / minutes
        out[at] = level
    return out


def _fired(target: Target, patches: list[Patch], row: int) -> tuple[str, ...]:
    """The roles that a threshold on the past would have fired on, the farthest first."""
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
