"""The success figures, each computed from records, with its definition."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actions.base import Impact, Outcome
from actions.catalog.registry import find_action
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
    """A run with its steps, including the steps of a rollback."""

    run: Run
    steps: Sequence[Intent]

    @property
    def by_alert(self) -> bool:
        return self.run.request is None

    @property
    def first_sent(self) -> float | None:
        """Time of the first call that changes something in AWS; epoch seconds."""
        times = (step.dispatched_at for step in self.steps if _changes_aws(step))
        return min((time for time in times if time is not None), default=None)

    @property
    def acted(self) -> bool:
        """Whether a step changed something in AWS, or may have done so."""
        return any(_changes_aws(step) and step.outcome in _MAY_HAVE_CHANGED for step in self.steps)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One figure; `value` is None if unknown, with the `reason`; `more` has its parts."""

    title: str
    value: float | None
    unit: str
    definition: str
    reason: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


def time_to_action(incidents: Sequence[Incident]) -> Metric:
    times = [
        max(0.0, incident.first_sent - incident.run.starts_at)
        for incident in incidents
        if incident.by_alert and incident.first_sent is not None
    ]
    return Metric(
        title="Time from fault to action",
        value=_percentile(times, 0.5),
        unit="s",
        definition="Median time from an alert's startsAt to the first AWS call of its run that "
        "changes something. Runs without such a call do not count. Percentiles are nearest-rank.",
        reason=None if times else "no run of an alert acted",
        more={
            "runs": len(times),
            "p50_s": _percentile(times, 0.5),
            "p95_s": _percentile(times, 0.95),
            "share_within_30_s": _share(sum(time <= QUICK_S for time in times), len(times)),
            "times_s": sorted(times),
        },
    )


def correct_actions(incidents: Sequence[Incident]) -> Metric:
    acted = [incident for incident in incidents if incident.acted and incident.run.state.ended]
    answers = [_was_right(incident) for incident in acted]
    judged = [right for right in answers if right is not None]
    marks = [incident.run.mark.right for incident in acted if incident.run.mark is not None]
    share = _share(sum(judged), len(judged))
    return Metric(
        title="Correct actions",
        value=share,
        unit="share",
        definition="Share of right decisions among the ended runs that acted. A person's feedback "
        "decides. Without feedback a run was right if its target recovered, wrong if it failed, "
        "was rolled back or did not last, and does not count if it was cancelled.",
        reason=None if judged else "no run acted and ended",
        more={
            "right": sum(judged),
            "wrong": len(judged) - sum(judged),
            "neither": len(answers) - len(judged),
            "marked_right": sum(marks),
            "marked_wrong": len(marks) - sum(marks),
            "wanted": WANTED,
            "met": None if share is None else share >= WANTED,
        },
    )


def time_to_recovery(incidents: Sequence[Incident], manual_minutes: float | None) -> Metric:
    times = [
        max(0.0, (incident.run.ended_at or 0.0) - incident.run.starts_at)
        for incident in incidents
        if incident.by_alert and incident.acted and incident.run.state is State.SUCCEEDED
    ]
    median, manual = _percentile(times, 0.5), None
    if manual_minutes is not None:
        manual = manual_minutes * 60
    faster = None if median is None or not manual else 1 - median / manual
    return Metric(
        title="Time to recovery",
        value=median,
        unit="s",
        definition="Median time from an alert's startsAt to the verified recovery, for runs that "
        "acted and succeeded. The report compares it with the minutes that a manual recovery "
        "takes, if they were given.",
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


def interventions_avoided(incidents: Sequence[Incident]) -> Metric:
    avoided = [incident for incident in incidents if _without_people(incident)]
    return Metric(
        title="Manual interventions avoided",
        value=len(avoided),
        unit="runs",
        definition="Number of alerts' runs that acted and succeeded, that no person had to "
        "approve, and that no person marked as wrong.",
    )


def hours_saved(incidents: Sequence[Incident], until: float, price: float | None) -> Metric:
    """Instance-hours saved, and their value by the `price` of an hour in any currency."""
    steps = sorted(
        (step for incident in incidents for step in incident.steps if _resized(step)),
        key=lambda step: step.dispatched_at or 0.0,
    )
    hours = sum(_hours(step, steps, until) for step in steps)
    return Metric(
        title="Instance-hours saved",
        value=hours,
        unit="h",
        definition="Instances that the service removed by scaling in, times the hours until the "
        "service changed the group's size again or the report ends. A scale-in that was rolled "
        "back saves nothing. Changes by others are unknown, so this is an upper bound.",
        more={
            "price_of_an_hour": price,
            "money": None if price is None else hours * price,
            "why_no_money": "no price was given" if price is None else None,
        },
    )


def availability(query: Callable[[str], float | None] | None, seconds: float) -> Metric:
    """The availability; `query` evaluates PromQL to a number, or raises ValueError."""
    span = f"[{int(seconds)}s]"
    total = f"sum(increase(smartcloudops_webhook_duration_seconds_count{span}))"
    failed = f'sum(increase(smartcloudops_webhook_rejected_total{{code=~"5.."}}{span}))'
    share, reason = None, "Prometheus was not queried"
    try:
        if query is not None:
            answered, refused = query(total), query(failed)
            reason = "Prometheus has counted no delivery"
            if answered and refused is not None:
                share = max(0.0, 1 - refused / answered)
    except ValueError as error:
        reason = str(error)
    return Metric(
        title="Availability of the webhook",
        value=share,
        unit="share",
        definition="Share of the answered deliveries whose status was not 5xx, as counted by "
        "Prometheus. Times in which no receiver answered are not included.",
        reason=None if share is not None else reason,
        more={"queries": [total, failed]},
    )


def _changes_aws(step: Intent) -> bool:
    """False for notifications and pages."""
    return find_action(step.action).impact is not Impact.HARMLESS


def _was_right(incident: Incident) -> bool | None:
    run = incident.run
    if run.mark is not None:
        return run.mark.right
    if run.state is State.SUCCEEDED:
        return run.relapsed_by is None
    return False if run.state in _WRONG else None


def _without_people(incident: Incident) -> bool:
    succeeded = incident.by_alert and incident.acted and incident.run.state is State.SUCCEEDED
    return succeeded and incident.run.approval is None and _was_right(incident) is True


def _resized(step: Intent) -> bool:
    return step.action in _CAPACITY and step.outcome is Outcome.CHANGED


def _hours(step: Intent, steps: Iterable[Intent], until: float) -> float:
    removed = step.before.get("desired", 0) - step.params.get("desired", 0)
    begun = step.ended_at or step.dispatched_at or until
    if removed <= 0 or step.undoes is not None:
        return 0.0
    changes = (other.dispatched_at or 0.0 for other in steps if other.target == step.target)
    ended = min((time for time in changes if time > begun), default=until)
    return float(removed) * max(0.0, ended - begun) / _HOUR_S


def _percentile(values: Sequence[float], share: float) -> float | None:
    """The percentile by the nearest-rank method."""
    if not values:
        return None
    return sorted(values)[math.ceil(share * len(values)) - 1]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
