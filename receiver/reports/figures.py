"""The figures of success, each computed from records, with its definition; never made up."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actions.base import Impact, Outcome
from actions.catalog.registry import CATALOG
from actions.execution.ledger import Intent
from receiver.runs.model import Run, State

QUICK_S = 30.0
WANTED = 0.95
_MAY_HAVE_CHANGED = frozenset({Outcome.CHANGED, Outcome.UNKNOWN})
_WRONG = frozenset({State.FAILED, State.ROLLED_BACK})
_CAPACITY = frozenset({"set_desired_capacity", "scale_in"})
_HOUR_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class Incident:
    """A run with its steps, those that undo included."""

    run: Run
    steps: Sequence[Intent]

    @property
    def by_alert(self) -> bool:
        return self.run.asked is None

    @property
    def first_sent(self) -> float | None:
        """When the first call was sent that changes something in AWS; epoch seconds."""
        sent = (one.dispatched_at for one in self.steps if _acts(one))
        return min((at for at in sent if at is not None), default=None)

    @property
    def acted(self) -> bool:
        """Whether a step changed something in AWS, or may have."""
        return any(_acts(one) and one.outcome in _MAY_HAVE_CHANGED for one in self.steps)

    @property
    def approval(self) -> Mapping[str, Any] | None:
        return self.run.approval or (self.run.plan or {}).get("approval")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """`value` is None where it is not known; then `reason` says why. `more` are its parts."""

    title: str
    value: float | None
    unit: str
    definition: str
    reason: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


def time_to_action(incidents: Sequence[Incident]) -> Figure:
    times = [
        max(0.0, one.first_sent - one.run.starts_at)
        for one in incidents
        if one.by_alert and one.first_sent is not None
    ]
    return Figure(
        title="Time from fault to action",
        value=_percentile(times, 0.5),
        unit="s",
        definition="From the alert's startsAt to the first AWS call that changes something, for "
        "runs of alerts that sent one; nearest-rank percentiles. The value is the median.",
        reason=None if times else "no run of an alert acted",
        more={
            "runs": len(times),
            "p50_s": _percentile(times, 0.5),
            "p95_s": _percentile(times, 0.95),
            "share_within_30_s": _share(sum(one <= QUICK_S for one in times), len(times)),
            "times_s": sorted(times),
        },
    )


def correct_actions(incidents: Sequence[Incident]) -> Figure:
    acted = [one for one in incidents if one.acted and one.run.state.ended]
    judged = [(one, _right(one)) for one in acted]
    known = [right for _, right in judged if right is not None]
    marked = [one.run.mark["right"] for one in acted if one.run.mark is not None]
    share = _share(sum(known), len(known))
    return Figure(
        title="Correct actions",
        value=share,
        unit="share",
        definition="Of the ended runs that acted: a person's mark, where there is one; else right "
        "where the target was verified to have recovered, wrong where the run failed or was "
        "undone. What people cut short counts as neither.",
        reason=None if known else "no run acted and ended",
        more={
            "right": sum(known),
            "wrong": len(known) - sum(known),
            "neither": len(judged) - len(known),
            "marked_right": sum(marked),
            "marked_wrong": len(marked) - sum(marked),
            "wanted": WANTED,
            "met": None if share is None else share >= WANTED,
        },
    )


def time_to_recovery(incidents: Sequence[Incident], manual_minutes: float | None) -> Figure:
    times = [
        max(0.0, (one.run.ended_at or 0.0) - one.run.starts_at)
        for one in incidents
        if one.by_alert and one.acted and one.run.state is State.SUCCEEDED
    ]
    median, manual = _percentile(times, 0.5), None
    if manual_minutes is not None:
        manual = manual_minutes * 60
    faster = None if median is None or not manual else 1 - median / manual
    return Figure(
        title="Time to recovery",
        value=median,
        unit="s",
        definition="From the alert's startsAt to the verified recovery, for runs of alerts that "
        "acted and succeeded; the value is the median. It is compared with the minutes that a "
        "person took before, as whoever asked for the report says.",
        reason=None if times else "no run of an alert acted and succeeded",
        more={
            "runs": len(times),
            "p50_s": median,
            "p95_s": _percentile(times, 0.95),
            "mean_s": sum(times) / len(times) if times else None,
            "manual_s": manual,
            "faster_by": faster,
        },
    )


def interventions_avoided(incidents: Sequence[Incident]) -> Figure:
    found = [one for one in incidents if _alone(one)]
    return Figure(
        title="Manual interventions avoided",
        value=len(found),
        unit="runs",
        definition="Runs of alerts that acted and succeeded, for which no person approved, and "
        "which no person marked as wrong.",
    )


def hours_saved(incidents: Sequence[Incident], until: float, price: float | None) -> Figure:
    """`price` of an instance-hour, in whatever currency."""
    steps = sorted(
        (one for incident in incidents for one in incident.steps if _resized(one)),
        key=lambda one: one.dispatched_at or 0.0,
    )
    hours = sum(_hours(one, steps, until) for one in steps)
    return Figure(
        title="Instance-hours saved",
        value=hours,
        unit="h",
        definition="Instances that our scaling in took from a group, times the hours until our "
        "next change of that group's size or the report's end; undoings save nothing. What others "
        "changed meanwhile is not known to us, so this is the most that it can be.",
        more={
            "price_of_an_hour": price,
            "money": None if price is None else hours * price,
            "why_no_money": "no price was given" if price is None else None,
        },
    )


def availability(ask: Callable[[str], float | None] | None, seconds: float) -> Figure:
    """`ask` answers a PromQL expression with one number; it may raise ValueError with a reason."""
    span = f"[{int(seconds)}s]"
    total = f"sum(increase(smartcloudops_webhook_duration_seconds_count{span}))"
    failed = f'sum(increase(smartcloudops_webhook_rejected_total{{code=~"5.."}}{span}))'
    share, reason = None, "Prometheus was not asked"
    try:
        if ask is not None:
            answered, refused = ask(total), ask(failed)
            reason = "Prometheus knows of no delivery"
            if answered and refused is not None:
                share = max(0.0, 1 - refused / answered)
    except ValueError as error:
        reason = str(error)
    return Figure(
        title="Availability of the webhook",
        value=share,
        unit="share",
        definition="Deliveries that were not answered with a 5xx, of all that were answered, as "
        "Prometheus counted them. A time in which nothing answered at all is not in it.",
        reason=None if share is not None else reason,
        more={"queries": [total, failed]},
    )


def _acts(step: Intent) -> bool:
    """Telling people is no act."""
    return CATALOG[step.action].impact is not Impact.HARMLESS


def _right(one: Incident) -> bool | None:
    if one.run.mark is not None:
        return bool(one.run.mark["right"])
    if one.run.state is State.SUCCEEDED:
        return True
    return False if one.run.state in _WRONG else None


def _alone(one: Incident) -> bool:
    succeeded = one.by_alert and one.acted and one.run.state is State.SUCCEEDED
    return succeeded and one.approval is None and _right(one) is True


def _resized(step: Intent) -> bool:
    return step.action in _CAPACITY and step.outcome is Outcome.CHANGED


def _hours(step: Intent, steps: Iterable[Intent], until: float) -> float:
    fewer = step.before.get("desired", 0) - step.params.get("desired", 0)
    begun = step.ended_at or step.dispatched_at or until
    if fewer <= 0 or step.undoes is not None:
        return 0.0
    later = (one.dispatched_at or 0.0 for one in steps if one.target == step.target)
    ended = min((at for at in later if at > begun), default=until)
    return float(fewer) * max(0.0, ended - begun) / _HOUR_S


def _percentile(values: Sequence[float], share: float) -> float | None:
    """Nearest rank."""
    if not values:
        return None
    return sorted(values)[math.ceil(share * len(values)) - 1]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
