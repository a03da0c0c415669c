"""What the converters of published data share: the rule that alerts, and the labelled set."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Sides = NDArray[np.int8]

_RARE, _FURTHER = 0.003, 0.02


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A target with a row every `step_s` from `start` on (epoch seconds), [rows, roles]."""

    name: str
    roles: Sequence[str]
    start: int
    step_s: int
    values: Floats

    def time(self, row: int) -> int:
        return self.start + row * self.step_s


def out_of_range(values: Floats, quiet: Floats) -> Sides:
    """1 where a role is above the range of the quiet rows for two rows, -1 below it, else 0."""
    low, high = np.quantile(quiet, (_RARE, 1 - _RARE), axis=0)
    above, below = values > high * (1 + _FURTHER), values < low * (1 - _FURTHER)
    sides = above.astype(np.int8) - below
    lasting = np.zeros_like(above)
    lasting[1:] = sides[1:] == sides[:-1]
    return np.where(lasting, sides, 0)


def alert(
    target: Recorded, row: int, sides: Sides, *, incident: bool, kind: str
) -> Mapping[str, object]:
    """A line of `alerts.jsonl`: rules fire on all roles that are out of range at the row."""
    moved = [
        (role, "high" if side > 0 else "low")
        for role, side in zip(target.roles, sides[row], strict=True)
        if side
    ]
    return {
        "id": f"{target.name}-{row}",
        "target": target.name,
        "time": target.time(row),
        "alertname": moved[0][0],
        "roles": [role for role, _ in sorted(moved)],
        "direction": [direction for _, direction in sorted(moved)],
        "label": "incident" if incident else "benign",
        "kind": kind,
        "group": target.name,
    }


def write_set(
    folder: Path, targets: Sequence[Recorded], alerts: Sequence[Mapping[str, object]]
) -> str:
    """Write a set whose targets have units and no siblings, and tell how many alerts it has."""
    (folder / "targets").mkdir(parents=True, exist_ok=True)
    for target in targets:
        np.savez(
            folder / "targets" / f"{target.name}.npz",
            X=target.values.astype(np.float32),
            roles=np.array(target.roles),
            start=np.int64(target.start),
            step_s=np.int64(target.step_s),
        )
    lines = "".join(json.dumps(line) + "\n" for line in alerts)
    (folder / "alerts.jsonl").write_text(lines)
    # A group has one target each: it is judged as the service judges a host without siblings.
    (folder / "set.json").write_text(json.dumps({"siblings": "group"}))
    incidents = sum(line["label"] == "incident" for line in alerts)
    return f"{len(alerts)} alerts, {incidents} incidents"
