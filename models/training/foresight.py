"""Measures the watch on whole series: which incidents it tells by the time of their alert.

As `FaultLikely` of `prometheus_rules/watch.yml` tells them: by two looks in a row.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from models.features.evidence import Evidence
from models.inference.artifact import Model
from models.inference.outlook import score
from models.training.labelled_sets import LabelledAlert, LabelledSet, Patch

# From these values on, both together, a fault is likely.
LIKELY, UNUSUAL = 0.9, 1.0
# Looks are no closer than in the service, and farther apart on a series without alerts.
_LOOK_S, _CALM_LOOK_S = 60, 300
# An incident that no patch dates may have begun so long before its alert, and lasts as long after.
_BEFORE_S = _AFTER_S = 7_200
_LOOKS_MAX, _INCIDENTS_MAX, _DAYS = 30, 300, 3
_DAY_S, _WEEK_S = 86_400, 604_800


@dataclass(frozen=True, kw_only=True)
class KindForesight:
    """The incidents of a kind; `told` by the time of their alert, `lead_s` their median lead."""

    kind: str
    incidents: int
    told: int
    lead_s: float | None


@dataclass(frozen=True, kw_only=True)
class Foresight:
    """What the watch tells of a set.

    `recall` is the share of incidents told by the time of their alert, `lead_s` how long before it
    (10th, 50th and 90th percentile). `false_alarms` a host-week are counted over `host_weeks`
    without incident. None is undefined.
    """

    set: str
    model: str
    incidents: int
    told: int
    recall: float | None
    lead_s: tuple[float, float, float] | None
    false_alarms: float | None
    host_weeks: float
    kinds: tuple[KindForesight, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def foresee(model: Model, labelled: LabelledSet, progress: Callable[[int, int], None]) -> Foresight:
    """Look at up to 300 incidents from their onset to their alert, and at three days a target."""
    incidents = list(_incidents(labelled))
    incidents = incidents[:: -(-len(incidents) // _INCIDENTS_MAX) or 1]
    names = sorted(labelled.targets)
    leads: list[tuple[str, float | None]] = []
    for number, (alert, patches) in enumerate(incidents):
        leads.append((alert.kind, _lead(model, labelled, alert, patches)))
        progress(number + 1, len(incidents) + len(names))
    alarms, looked_s = 0, 0.0
    for number, name in enumerate(names):
        found, seconds = _calm_days(model, labelled, name)
        alarms, looked_s = alarms + found, looked_s + seconds
        progress(len(incidents) + number + 1, len(incidents) + len(names))
    told = [lead for _, lead in leads if lead is not None]
    weeks = looked_s / _WEEK_S
    return Foresight(
        set=labelled.name,
        model=model.version,
        incidents=len(leads),
        told=len(told),
        recall=len(told) / len(leads) if leads else None,
        lead_s=_percentiles(told) if told else None,
        false_alarms=alarms / weeks if weeks else None,
        host_weeks=weeks,
        kinds=tuple(_by_kind(leads)),
    )


def _incidents(labelled: LabelledSet) -> Iterator[tuple[LabelledAlert, tuple[Patch, ...]]]:
    """One alert an incident: further ones of the same target soon after belong to it."""
    last: dict[str, int] = {}
    for line, alert in enumerate(labelled.alerts):
        if not alert.incident:
            continue
        patches = labelled.patches.get(line, ())
        if not patches:
            before, last[alert.target] = last.get(alert.target), alert.time
            if before is not None and alert.time - before <= _BEFORE_S:
                continue
        yield alert, patches


def _lead(
    model: Model, labelled: LabelledSet, alert: LabelledAlert, patches: tuple[Patch, ...]
) -> float | None:
    """Seconds from the first telling to the alert; None without one."""
    target = labelled.targets[alert.target]
    row = target.row(alert.time)
    begun = [one.row for one in patches if one.row <= row <= one.row + len(one.values)]
    onset = target.start + target.step_s * min(begun) if begun else alert.time - _BEFORE_S
    step = max(_LOOK_S, target.step_s, (alert.time - onset) / _LOOKS_MAX)
    times = np.arange(alert.time, onset - step / 2, -step)[::-1]
    looks = (labelled.evidence(alert.target, alert.group, time, patches) for time in times)
    first = next(_told(model, looks), None)
    return None if first is None else max(0.0, alert.time - first)


def _calm_days(model: Model, labelled: LabelledSet, name: str) -> tuple[int, float]:
    """Tellings on days spread over the later half of a target's series, and the seconds looked.

    Times around an incident's alert are left out.
    """
    target = labelled.targets[name]
    own = [alert for alert in labelled.alerts if alert.target == name]
    bad = np.array(
        [
            alert.time
            for line, alert in enumerate(labelled.alerts)
            if alert.target == name and alert.incident and line not in labelled.patches
        ]
    )
    end = target.start + target.step_s * (len(target.values) - 1)
    step = max(_CALM_LOOK_S, target.step_s)
    middle = (target.start + end) / 2
    alarms, looked_s = 0, 0.0
    for day in np.unique(np.linspace(middle, max(end - _DAY_S, middle), _DAYS)):
        times = np.arange(day, min(day + _DAY_S, end), step)
        off = times[:, None] - bad[None, :]
        calm = times[~((off > -_BEFORE_S) & (off < _AFTER_S)).any(axis=1)]
        looks = (labelled.evidence(name, own[0].group, time) for time in calm)
        alarms += sum(1 for _ in _told(model, looks))
        looked_s += len(calm) * step
    return alarms, looked_s


def _told(model: Model, looks: Iterable[Evidence]) -> Iterator[float]:
    """The moments at which the second look in a row shows a likely fault."""
    row = 0
    for evidence in looks:
        outlook = score(model, evidence)
        likely = (outlook.probability or 0.0) > LIKELY and (outlook.unusual or 0.0) > UNUSUAL
        row = row + 1 if likely else 0
        if row == 2:  # noqa: PLR2004 the second look
            yield evidence.at


def _by_kind(leads: Sequence[tuple[str, float | None]]) -> Iterator[KindForesight]:
    for kind in sorted({kind for kind, _ in leads}):
        of_kind = [lead for name, lead in leads if name == kind]
        told = [lead for lead in of_kind if lead is not None]
        yield KindForesight(
            kind=kind,
            incidents=len(of_kind),
            told=len(told),
            lead_s=float(np.median(told)) if told else None,
        )


def _percentiles(leads: Sequence[float]) -> tuple[float, float, float]:
    low, middle, high = np.quantile(leads, (0.1, 0.5, 0.9))
    return float(low), float(middle), float(high)


def format_foresight(foresight: Foresight) -> str:
    """The figures as text."""
    lead = foresight.lead_s
    minutes = "-" if lead is None else " / ".join(f"{seconds / 60:.1f}" for seconds in lead)
    recall = "-" if foresight.recall is None else f"{foresight.recall:.3f}"
    alarms = "-" if foresight.false_alarms is None else f"{foresight.false_alarms:.2f}"
    lines = [
        f"set                       {foresight.set}",
        f"model                     {foresight.model}",
        f"told by their alert       {foresight.told} of {foresight.incidents} ({recall})",
        f"lead, minutes (10/50/90)  {minutes}",
        f"false alarms a host-week  {alarms} (over {foresight.host_weeks:.1f} host-weeks)",
        "",
        f"{'kind':20}{'incidents':>10}{'told':>7}{'lead, min':>11}",
    ]
    for one in foresight.kinds:
        middle = "-" if one.lead_s is None else f"{one.lead_s / 60:.1f}"
        lines.append(f"{one.kind:20}{one.incidents:10}{one.told:7}{middle:>11}")
    return "\n".join(lines)
