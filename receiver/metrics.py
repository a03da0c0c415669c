"""What is measured. Every label combination that can occur starts at zero; no ids in labels."""

from collections.abc import Iterable
from importlib.metadata import version
from itertools import product

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

from actions.assurance.reconcile import FindingKind as Difference
from actions.base import Outcome
from actions.catalog.registry import CATALOG
from actions.reasons import Reason
from models.inference.verdict import Answer
from receiver.evidence.aws_state import Source
from receiver.notify.messages import MessageKind
from receiver.runs.model import IN_FLIGHT, Mark, State
from receiver.settings import Mode

# A second series for each counter, which Prometheus 2 does not use.
disable_created_metrics()  # type: ignore[no-untyped-call] # it has no annotations
_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SLOW = (1, 2.5, 5, 10, 15, 20, 25, 30, 45, 60, 120, 300, 600, 1800, 3600)
_SHARE = tuple(step / 10 for step in range(1, 11))
NO_PLAYBOOK = "none"


class Metrics:
    """The metrics of one receiver, in a registry of their own."""

    def __init__(self, playbooks: Iterable[str]) -> None:
        self.registry = registry = CollectorRegistry()
        self.alerts_received = Counter(
            "smartcloudops_alerts_received",
            "Alerts in deliveries that were taken, by their status",
            ["status"],
            registry=registry,
        )
        self.alerts_duplicate = Counter(
            "smartcloudops_alerts_duplicate",
            "Firing copies of an alert that was known already",
            registry=registry,
        )
        self.alerts_truncated = Counter(
            "smartcloudops_alerts_truncated",
            "Alerts that Alertmanager left out of its deliveries",
            registry=registry,
        )
        self.truncated_groups = Counter(
            "smartcloudops_truncated_groups",
            "Groups of which Alertmanager left alerts out, by what became of the rest",
            ["outcome"],
            registry=registry,
        )
        self.runs = Counter(
            "smartcloudops_runs", "Runs by how they ended", ["playbook", "state"], registry=registry
        )
        self.refusals = Counter(
            "smartcloudops_refusals", "Refusals by reason", ["reason"], registry=registry
        )
        self.unreadable = Counter(
            "smartcloudops_unreadable",
            "Reads that got no answer, by who was asked",
            ["source"],
            registry=registry,
        )
        self.actions = Counter(
            "smartcloudops_actions",
            "Steps by what came of them",
            ["action", "outcome"],
            registry=registry,
        )
        self.action_duration = Histogram(
            "smartcloudops_action_duration_seconds",
            "From the claim to the outcome of a step",
            ["action"],
            buckets=_QUICK,
            registry=registry,
        )
        self.verdicts = Counter(
            "smartcloudops_verdicts", "Re-checks by answer", ["answer"], registry=registry
        )
        self.verdict_score = Histogram(
            "smartcloudops_verdict_score", "Scores", buckets=_SHARE, registry=registry
        )
        self.recheck_duration = Histogram(
            "smartcloudops_recheck_duration_seconds",
            "Fetching the evidence and judging it",
            buckets=_QUICK,
            registry=registry,
        )
        self.decision_duration = Histogram(
            "smartcloudops_decision_duration_seconds",
            "From taking up a run to its decision",
            buckets=_QUICK,
            registry=registry,
        )
        self.alert_to_action = Histogram(
            "smartcloudops_alert_to_action_seconds",
            "From the alert's startsAt to the first AWS call that changes something",
            buckets=_SLOW,
            registry=registry,
        )
        self.time_to_recovery = Histogram(
            "smartcloudops_time_to_recovery_seconds",
            "From the alert's startsAt to the verified recovery",
            ["playbook"],
            buckets=_SLOW,
            registry=registry,
        )
        self.webhook_duration = Histogram(
            "smartcloudops_webhook_duration_seconds",
            "Deliveries from their headers to their answer",
            buckets=_QUICK,
            registry=registry,
        )
        self.webhook_rejected = Counter(
            "smartcloudops_webhook_rejected",
            "Deliveries that were answered with an error, by status",
            ["code"],
            registry=registry,
        )
        self.audit_anchored = Gauge(
            "smartcloudops_audit_anchored",
            "The last audit record that a signed head speaks for; 0 is none since the start",
            registry=registry,
        )
        self.audit_anchor_failures = Counter(
            "smartcloudops_audit_anchor_failures",
            "Heads of the audit that could not be signed and kept",
            registry=registry,
        )
        self.reconcile_findings = Gauge(
            "smartcloudops_reconcile_findings",
            "What the ledger and CloudTrail differed in when they were last compared",
            ["kind"],
            registry=registry,
        )
        for difference in Difference:
            self.reconcile_findings.labels(difference)
        self.reconciled = Gauge(
            "smartcloudops_reconciled_timestamp_seconds",
            "When the ledger was last compared with CloudTrail; 0 is not since the start",
            registry=registry,
        )
        self.reconcile_failures = Counter(
            "smartcloudops_reconcile_failures",
            "Comparisons of the ledger with CloudTrail that could not be made",
            registry=registry,
        )
        self.retention_removed = Counter(
            "smartcloudops_retention_removed",
            "Old records that were let go of, by what they were",
            ["kind"],
            registry=registry,
        )
        self.retention_failures = Counter(
            "smartcloudops_retention_failures",
            "Times that old records could not be let go of",
            registry=registry,
        )
        self.marks = Counter(
            "smartcloudops_marks",
            "What people said of ended runs",
            ["playbook", "mark"],
            registry=registry,
        )
        self.notifications = Counter(
            "smartcloudops_notifications",
            "What people were told of, by kind and by what came of it",
            ["kind", "outcome"],
            registry=registry,
        )
        self.runs_in_flight = self._gauge("runs_in_flight", "Runs that have not ended")
        self.awaiting_approval = self._gauge("awaiting_approval", "Runs that wait for a person")
        self.paused = self._gauge("paused", "1 while nothing acts, also where that is unknown")
        self.leading = self._gauge("leading", "1 where this is the receiver that acts")
        self.cooldowns_active = self._gauge("cooldowns_active", "Targets that may not be acted on")
        self.runs_open = Gauge(
            "smartcloudops_runs_open",
            "Runs that have not ended, by where they are",
            ["playbook", "state"],
            registry=registry,
        )
        self.oldest_run = Gauge(
            "smartcloudops_oldest_run_seconds",
            "Since the run that has stood still longest in this state last moved",
            ["state"],
            registry=registry,
        )
        self.breaker_open = Gauge(
            "smartcloudops_breaker_open",
            "1 while a playbook's breaker lets nothing through",
            ["playbook"],
            registry=registry,
        )
        self.playbook_armed = Gauge(
            "smartcloudops_playbook_armed",
            "Armings of a playbook that stand, one a service, by how far they let it go",
            ["playbook", "mode"],
            registry=registry,
        )
        self.inbox_backlog = self._gauge("inbox_backlog", "Alerts on disk that are not runs yet")
        self.model_info = Gauge(
            "smartcloudops_model_info", "The model that judges", ["version"], registry=registry
        )
        self.build_info = Gauge(
            "smartcloudops_build_info", "This program", ["version"], registry=registry
        )
        self.model_usable = self._gauge("model_usable", "1 while there is a model to judge with")
        self.model_drift = Gauge(
            "smartcloudops_model_drift",
            "Population stability index of what is judged against what was learnt from",
            ["of"],
            registry=registry,
        )
        self.shadow_verdicts = Counter(
            "smartcloudops_shadow_verdicts",
            "Answers of the active model and of the one that only watches",
            ["active", "shadow"],
            registry=registry,
        )
        self.build_info.labels(version("smartcloudops")).set(1)
        self.truncated_groups.labels("fetched")
        self.truncated_groups.labels("lost")
        self.playbooks = (*playbooks, NO_PLAYBOOK)
        self._start_at_zero()
        self._start_playbooks_at_zero()

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"smartcloudops_{name}", text, registry=self.registry)

    def unread(self, source: Source) -> None:
        """Count something that a source did not answer."""
        self.unreadable.labels(source).inc()

    def _start_at_zero(self) -> None:
        for status in ("firing", "resolved"):
            self.alerts_received.labels(status)
        for reason in Reason:
            self.refusals.labels(reason)
        for source in Source:
            self.unreadable.labels(source)
        for answer in Answer:
            self.verdicts.labels(answer)
            for other in Answer:
                self.shadow_verdicts.labels(answer, other)
        for of in ("features", "scores"):
            self.model_drift.labels(of)
        for code in (400, 401, 403, 413, 422, 500, 503):
            self.webhook_rejected.labels(code)
        for state in IN_FLIGHT:
            self.oldest_run.labels(state)
        self._start_acts_at_zero()

    def _start_acts_at_zero(self) -> None:
        for kind, told in product(MessageKind, ("sent", "failed", "left_out")):
            self.notifications.labels(kind, told)
        for action in CATALOG:
            self.action_duration.labels(action)
            for outcome in Outcome:
                self.actions.labels(action, outcome)

    def _start_playbooks_at_zero(self) -> None:
        for playbook in self.playbooks:
            self.time_to_recovery.labels(playbook)
            self.breaker_open.labels(playbook)
        for playbook, mode in product(self.playbooks, Mode):
            self.playbook_armed.labels(playbook, mode)
        for playbook, mark in product(self.playbooks, Mark):
            self.marks.labels(playbook, mark)
        for playbook, state in product(self.playbooks, State):
            if state.ended:
                self.runs.labels(playbook, state)
            else:
                self.runs_open.labels(playbook, state)
