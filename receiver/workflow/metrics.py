"""Metrics of runs and their steps."""

from collections.abc import Iterable
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Histogram

from actions.base import Outcome
from actions.catalog.registry import CATALOG
from actions.reasons import Reason
from receiver.metrics import FAST_S, NO_PLAYBOOK, SLOW_S, start_at_zero
from receiver.runs.model import Mark, State


class EscalationOutcome(StrEnum):
    """The outcome of one attempt to call people; after `abandoned` there is no other attempt."""

    DELIVERED = "delivered"
    FAILED = "failed"
    ABANDONED = "abandoned"


class RunMetrics:
    """The ends of runs, and people's feedback on them."""

    def __init__(self, registry: CollectorRegistry, playbooks: Iterable[str] = ()) -> None:
        self.ended = Counter(
            "smartcloudops_runs",
            "Ended runs, by playbook and final state",
            ["playbook", "state"],
            registry=registry,
        )
        self.refusals = Counter(
            "smartcloudops_refusals", "Refused runs, by reason", ["reason"], registry=registry
        )
        start_at_zero(self.refusals, Reason)
        self.time_to_recovery = Histogram(
            "smartcloudops_time_to_recovery_seconds",
            "Time from the alert's startsAt to the verified recovery",
            ["playbook"],
            buckets=SLOW_S,
            registry=registry,
        )
        self.marks = Counter(
            "smartcloudops_marks",
            "People's feedback on ended runs",
            ["playbook", "mark"],
            registry=registry,
        )
        self.add_playbooks([*playbooks, NO_PLAYBOOK])

    def add_playbooks(self, names: Iterable[str]) -> None:
        """Start the metrics of these playbooks at zero."""
        names = list(names)
        start_at_zero(self.ended, names, [state for state in State if state.ended])
        start_at_zero(self.time_to_recovery, names)
        start_at_zero(self.marks, names, Mark)


class StepMetrics:
    """Outcomes and durations of steps, and whether escalations reached people."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.outcomes = Counter(
            "smartcloudops_actions",
            "Executed steps, by action and outcome",
            ["action", "outcome"],
            registry=registry,
        )
        start_at_zero(self.outcomes, CATALOG, Outcome)
        self.escalations = Counter(
            "smartcloudops_escalations",
            "Attempts to notify people of a failed run, by outcome",
            ["outcome"],
            registry=registry,
        )
        start_at_zero(self.escalations, EscalationOutcome)
        self.duration = Histogram(
            "smartcloudops_action_duration_seconds",
            "Time from a step's claim to its outcome",
            ["action"],
            buckets=FAST_S,
            registry=registry,
        )
        start_at_zero(self.duration, CATALOG)
        self.alert_to_action = Histogram(
            "smartcloudops_alert_to_action_seconds",
            "Time from the alert's startsAt to the first AWS call that changes something",
            buckets=SLOW_S,
            registry=registry,
        )
