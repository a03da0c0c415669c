"""The health of a run's target, by metrics whose samples are newer than the step."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from actions.catalog.registry import find_action
from actions.execution.ledger import Intent
from actions.place import Place
from receiver.evidence.prometheus.answers import PrometheusError
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.prometheus.freshness import ConditionReader, ConditionReaders, Finding
from receiver.evidence.roles.node_exporter import NODE_EXPORTER
from receiver.runs.model import PlannedVerification, Run
from receiver.workflow.step_results import Health
from receiver.workflow.steps import plan_of


@dataclass(frozen=True, kw_only=True)
class HealthReading:
    """The health; it must last for `hold_s`.

    Samples tell of a change after `needs_s`: until `ready_at` newer ones may still come.
    """

    health: Health
    hold_s: float
    needs_s: float
    ready_at: float


@dataclass(frozen=True, kw_only=True)
class HealthReader:
    """Reads the health by the conditions of the run's plan.

    `members` gives the matchers of the series of a group's present instances, by the label that
    tells hosts apart; empty where nothing tells them. `alert_fires` tells by Alertmanager whether
    an alert with these labels fires since a moment.
    """

    prometheus: Prometheus
    members: Callable[[Place, str, str], str]
    alert_fires: Callable[[Mapping[str, str], float], bool | None]
    _readers: ConditionReaders = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_readers", ConditionReaders(self.prometheus))

    def read(self, run: Run, step: Intent, done_at: float, now: float) -> HealthReading:
        """The health by samples newer than `done_at`, when AWS had done the step.

        Unknown without such samples and without an answer. Where only metrics can show that the
        step took effect, neither a recovery nor a worsening counts without that proof, and a fault
        not while they show that it did not.
        """
        conditions, verify = self._readers.of(run.labels), plan_of(run).verify
        proof = _proof_of(step, verify)
        proven = proof is None or _is_proven(conditions.prometheus, proof, now)
        since = max(done_at, step.dispatched_at or 0.0) if proof and proven else done_at
        expr, worse_expr = self._of_today(run, verify)
        recovery = conditions.find_since(expr, since, now)
        if recovery.holds is None and verify.scraped:
            recovery = self._alert_is_over(run, conditions, since, now) or recovery
        worse = worse_expr and conditions.find_since(worse_expr, since, now)
        health = _health_of(recovery, worse or None, proven=proven)
        if proof and not proven and health is Health.ILL:
            did_not = conditions.find_since(proof, since, now).holds is False
            health = Health.UNKNOWN if did_not else Health.ILL
        if health is Health.RECOVERED and verify.loaded:
            loaded = conditions.find_since(verify.loaded, since, now).holds
            health = Health.RECOVERED if loaded else Health.UNKNOWN
        return HealthReading(
            health=health,
            hold_s=max(verify.for_s, recovery.interval_s),
            needs_s=recovery.needs_s,
            ready_at=since + recovery.needs_s,
        )

    def _of_today(self, run: Run, verify: PlannedVerification) -> tuple[str, str | None]:
        """The conditions, about the group's present members where these are told by name."""
        if "=~" not in verify.members or verify.members not in verify.expr + (verify.worse or ""):
            return verify.expr, verify.worse
        members = self.members(run.place, plan_of(run).group, verify.host_label) or verify.members
        worse = verify.worse and verify.worse.replace(verify.members, members)
        return verify.expr.replace(verify.members, members), worse

    def _alert_is_over(
        self, run: Run, conditions: ConditionReader, since: float, now: float
    ) -> Finding | None:
        """The default condition where rules are evaluated elsewhere: by Alertmanager's word."""
        fires = self.alert_fires(run.labels, since)
        if fires is None:
            return None
        scraped = conditions.find_since(plan_of(run).verify.scraped, since, now)
        return replace(scraped, holds=False) if fires else scraped

    def proves(self, run: Run, now: float) -> bool:
        """Whether a condition that does not hold tells of the target, and not of its siblings.

        Where nobody has traffic, no traffic is no sign of a fault.
        """
        verify, target = plan_of(run).verify, plan_of(run).target
        if verify.scraped:
            # An alert is of this target alone.
            return True
        expr = _of_siblings(verify, target)
        if not verify.siblings or expr == verify.expr:
            return True
        try:
            samples = self.prometheus.of(run.labels).instant_query(expr, at=now)
        except PrometheusError:
            return True
        return not samples or any(sample.value for sample in samples)


def _proof_of(step: Intent, verify: PlannedVerification) -> str | None:
    """The query that proves that the step took effect; None where AWS shows it."""
    if step.dispatched_at is None:
        return None
    selector = verify.selector or f'instance_id="{step.target}"'
    boot_time = verify.boot_time or NODE_EXPORTER.boot_time_of(selector)
    return find_action(step.action).recovery_expr(boot_time, step.dispatched_at)


def _is_proven(prometheus: Prometheus, proof: str, now: float) -> bool:
    try:
        samples = prometheus.instant_query(proof, at=now)
    except PrometheusError:
        return False
    return bool(samples) and all(sample.value for sample in samples)


def _of_siblings(verify: PlannedVerification, target: str) -> str:
    """The condition with the siblings' series in place of the target's."""
    expr = verify.expr
    if verify.selector:
        expr = expr.replace(verify.selector, verify.siblings)
    # In each of PromQL's quotes, and as a pattern that is no more than the id.
    own = rf"""\binstance_id\s*=~?\s*(["'`]){re.escape(target)}\1"""
    return verify.siblings.join(re.split(own, expr)[::2])


def _health_of(recovery: Finding, worse: Finding | None, *, proven: bool) -> Health:
    if worse is not None and worse.holds and proven:
        return Health.WORSE
    match recovery.holds:
        case None:
            return Health.UNKNOWN
        case True:
            return Health.RECOVERED if proven else Health.UNKNOWN
        case False:
            return Health.ILL
