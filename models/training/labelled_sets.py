"""Labelled alerts on recorded metrics, read as the evidence of each alert.

A set is a folder with `alerts.jsonl`, `patches.npz` and the series of its targets. Labels are for
training and scoring; the evidence does not contain them.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.features.evidence import Evidence, Series
from models.features.signals import ROLES
from models.features.window import MOST_SLOTS, RECENT_SLOTS, SLOT_S

STEP_S = 60
_PEERS_S, _PEERS_ROWS = 1_800, 12
_LEAST_SHARE = 0.8


class SetError(ValueError):
    """The folder is not a labelled set; the text names the file and the fault."""


@dataclass(frozen=True, kw_only=True)
class RecordedTarget:
    """The recorded series of one machine.

    `values` [rows, roles] has a row every `step_s` from `start` on (epoch seconds). `noise` is the
    least deviation that counts of each role, none if it is empty.
    """

    name: str
    roles: tuple[str, ...]
    values: NDArray[np.float32]
    start: int
    step_s: int
    noise: tuple[float, ...] = ()

    def row(self, time: float) -> int:
        """The number of the newest row at or before a moment."""
        return int((time - self.start) // self.step_s)


@dataclass(frozen=True, kw_only=True)
class LabelledAlert:
    id: str
    target: str
    time: int
    roles: tuple[str, ...]
    incident: bool
    kind: str
    group: str


@dataclass(frozen=True, kw_only=True)
class Patch:
    """Values that replace a target's series in one column, from a row on."""

    column: int
    row: int
    values: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class LabelledSet:
    """Labelled alerts. `groups` has the targets of each group of siblings, if the set has any.

    A set with siblings has units, too, and its alerts are judged as the service judges them.
    """

    name: str
    alerts: tuple[LabelledAlert, ...]
    targets: dict[str, RecordedTarget]
    patches: dict[int, tuple[Patch, ...]]
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[LabelledAlert, Evidence]]:
        for line, alert in enumerate(self.alerts):
            patches = self.patches.get(line, ())
            yield alert, self.evidence(alert.target, alert.group, alert.time, patches)

    def evidence(
        self, target: str, group: str, time: float, patches: tuple[Patch, ...] = ()
    ) -> Evidence:
        """The evidence of a target of a group at a moment, with its siblings if the set has any."""
        evidence = evidence_at(self.targets[target], time, patches)
        if not self.groups:
            return evidence
        others = [name for name in self.groups[group] if name != target]
        peers = {name: _latest(self.targets[name], time) for name in others}
        return replace(evidence, peers=peers, relative=False)


def read_set(folder: Path) -> LabelledSet:
    """Raises SetError."""
    try:
        alerts = tuple(
            _alert(json.loads(text))
            for text in (folder / "alerts.jsonl").read_text(encoding="utf-8").splitlines()
        )
        meta = folder / "set.json"
        told = json.loads(meta.read_text(encoding="utf-8")) if meta.exists() else {}
        base = folder / told.get("targets", "targets")
        targets = {name: _target(base, name) for name in sorted({alert.target for alert in alerts})}
        patches = _patches(folder / "patches.npz")
    except OSError as error:
        raise SetError(f"{error.filename}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise SetError(f"{folder}: not a labelled set: {error}") from error
    groups = defaultdict[str, set[str]](set)
    if told.get("siblings") == "group":
        for alert in alerts:
            groups[alert.group].add(alert.target)
    return LabelledSet(
        name=folder.name,
        alerts=alerts,
        targets=targets,
        patches=patches,
        groups={name: sorted(members) for name, members in groups.items()},
    )


def evidence_at(target: RecordedTarget, time: float, patches: tuple[Patch, ...] = ()) -> Evidence:
    """The evidence of a target at a moment; later rows are cut off first."""
    end = min(target.row(time), len(target.values) - 1) + 1
    begin = max(0, end - int(MOST_SLOTS * SLOT_S) // target.step_s)
    values = target.values[begin:end].astype(np.float64)
    for patch in patches:
        a, b = max(patch.row, begin), min(patch.row + len(patch.values), end)
        if a < b:
            values[a - begin : b - begin, patch.column] = patch.values[
                a - patch.row : b - patch.row
            ]
    at = float(target.start + (end - 1) * target.step_s)
    times = at - target.step_s * np.arange(len(values) - 1, -1, -1, dtype=np.float64)
    each = max(1, int(SLOT_S) // target.step_s)
    whole = len(values) // each * each
    means = values[len(values) - whole :].reshape(-1, each, values.shape[1]).mean(axis=1)
    newest = times[len(values) - whole :].reshape(-1, each)[:, -1]
    late = RECENT_SLOTS * STEP_S // target.step_s
    # A copy with roles as rows, so that each series is contiguous.
    past, recent = np.ascontiguousarray(means.T), np.ascontiguousarray(values[-late:].T)
    return Evidence(
        target=target.name,
        at=at,
        history={role: _series(newest, past[k]) for k, role in enumerate(target.roles)},
        recent={role: _series(times[-late:], recent[k]) for k, role in enumerate(target.roles)},
        relative=True,
    )


def _latest(target: RecordedTarget, time: float) -> Mapping[str, Series]:
    """A sibling's last half hour, or as many rows as a comparison needs."""
    end = min(target.row(time), len(target.values) - 1) + 1
    rows = max(_PEERS_S // target.step_s, _PEERS_ROWS)
    begin = max(0, end - rows)
    times = target.start + target.step_s * np.arange(begin, end, dtype=np.float64)
    late = target.values[begin:end].astype(np.float64).T
    return {role: _series(times, late[k]) for k, role in enumerate(target.roles)}


def assemble_target(
    name: str,
    parts: Iterable[tuple[str, Sequence[float], Sequence[float]]],
    *,
    start: int,
    end: int,
) -> RecordedTarget | None:
    """Build a target with a row for each minute from recorded (role, epoch seconds, values).

    Short gaps are interpolated; a role that lacks a fifth of its values is left out.
    """
    rows = (end - start) // STEP_S + 1
    columns: dict[str, NDArray[np.float64]] = {}
    for role, times, values in parts:
        column = columns.setdefault(role, np.full(rows, np.nan))
        column[((np.asarray(times) - start) // STEP_S).astype(np.int64)] = values
    kept = {
        role: column
        for role, column in columns.items()
        if role in ROLES and np.isfinite(column).mean() >= _LEAST_SHARE
    }
    if not kept:
        return None
    lines = [
        np.interp(np.arange(rows), np.flatnonzero(known), column[known])
        for column in kept.values()
        for known in [np.isfinite(column)]
    ]
    whole = np.column_stack(lines).astype(np.float32)
    return RecordedTarget(name=name, roles=tuple(kept), values=whole, start=start, step_s=STEP_S)


def _series(times: NDArray[np.float64], values: NDArray[np.float64]) -> Series:
    return Series(times, values)  # type: ignore[arg-type] # arrays avoid a list of a million items


def _alert(line: dict[str, Any]) -> LabelledAlert:
    return LabelledAlert(
        id=str(line["id"]),
        target=str(line["target"]),
        time=int(line["time"]),
        roles=tuple(str(role) for role in line["roles"]),
        incident=line.get("label") == "incident",
        kind=str(line.get("kind", "")),
        group=str(line.get("group", line["target"])),
    )


def _target(base: Path, name: str) -> RecordedTarget:
    path = base / f"{name}.npz"
    if path.resolve().parent != base.resolve():
        raise SetError(f"{name}: not the name of a target")
    with np.load(path, allow_pickle=False) as arrays:
        return RecordedTarget(
            name=name,
            roles=tuple(str(role) for role in arrays["roles"]),
            values=np.asarray(arrays["X"], dtype=np.float32),
            start=int(arrays["start"]),
            step_s=int(arrays["step_s"]),
        )


def _patches(path: Path) -> dict[int, tuple[Patch, ...]]:
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as arrays:
        pool = np.asarray(arrays["values"], dtype=np.float32)
        by_alert: dict[int, list[Patch]] = {}
        columns = ("alert", "role", "start", "offset", "length")
        for alert, role, start, offset, length in zip(
            *(arrays[name].tolist() for name in columns), strict=True
        ):
            patch = Patch(column=role, row=start, values=pool[offset : offset + length])
            by_alert.setdefault(alert, []).append(patch)
    return {alert: tuple(patches) for alert, patches in by_alert.items()}
