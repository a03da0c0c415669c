"""The minutes that acting saved: by hold-outs where there are enough, else by a person's figure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from receiver.reports.figures import Incident, Metric
from receiver.runs.model import Arm, State

_HOLD_OUTS, _GIVEN = "hold-outs", "the given minutes of a manual recovery"


def minutes_saved(
    incidents: Sequence[Incident],
    lifts: Sequence[Mapping[str, Any]],
    manual_minutes: float | None,
) -> Metric:
    """The minutes saved, in all and by playbook; each says by what it is computed."""
    by_playbook: defaultdict[str, list[Incident]] = defaultdict(list)
    for incident in incidents:
        run = incident.run
        ended = run.state in {State.SUCCEEDED, State.FAILED, State.ROLLED_BACK}
        waited = run.holdout is not None and run.holdout.arm is Arm.HELD
        if incident.by_alert and incident.acted and ended and not waited:
            by_playbook[run.playbook or ""].append(incident)
    sooner = {lift["playbook"]: lift["sooner_s"] for lift in lifts if lift["sooner_s"]}
    rows = [
        _by_hold_outs(playbook, len(acted), sooner[playbook])
        if playbook in sooner
        else _by_given(playbook, acted, manual_minutes)
        for playbook, acted in sorted(by_playbook.items())
    ]
    known = [row for row in rows if row["minutes"] is not None]
    why = "no run of an alert acted" if not rows else "no hold-outs, and no minutes were given"
    return Metric(
        title="Minutes saved",
        value=sum(row["minutes"] for row in known) if known else None,
        unit="min",
        definition="Minutes by which faults were over sooner. Where a playbook has at least ten "
        "hold-outs and ten others: the runs that acted at once, times the difference of the mean "
        "times to recovery within the wait, relapses counted as none. Else, by the given minutes "
        "of a manual recovery: these, less the time to recovery, for runs that succeeded, lasted, "
        "and were not marked wrong.",
        reason=None if known else why,
        more={"basis": sorted({row["basis"] for row in known}), "by_playbook": rows},
    )


def _by_hold_outs(playbook: str, runs: int, sooner: Mapping[str, float]) -> dict[str, Any]:
    minutes = {name: runs * sooner[name] / 60 for name in ("value", "low", "high")}
    return {
        "playbook": playbook,
        "runs": runs,
        "basis": _HOLD_OUTS,
        "minutes": minutes["value"],
        "low": minutes["low"],
        "high": minutes["high"],
    }


def _by_given(
    playbook: str, acted: Sequence[Incident], manual_minutes: float | None
) -> dict[str, Any]:
    lasted = [
        incident.run
        for incident in acted
        if incident.run.state is State.SUCCEEDED
        and incident.run.relapsed_by is None
        and (incident.run.mark is None or incident.run.mark.right)
    ]
    minutes = None
    if manual_minutes is not None:
        took_s = sum(max(0.0, (run.ended_at or 0.0) - run.starts_at) for run in lasted)
        minutes = manual_minutes * len(lasted) - took_s / 60
    row = {"playbook": playbook, "runs": len(lasted), "basis": _GIVEN, "minutes": minutes}
    return row | {"low": None, "high": None}
