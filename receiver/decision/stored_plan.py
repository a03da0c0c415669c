"""Converts a plan to the form that the run stores."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from models.features.signals import ROLES
from receiver.decision.model import Plan
from receiver.evidence.prometheus.expressions import at_place, one_of
from receiver.evidence.roles.exporter import Exporter
from receiver.evidence.roles.node_exporter import NODE_EXPORTER
from receiver.evidence.roles.promql import LATEST, first_label, query
from receiver.playbooks.placeholders import render
from receiver.playbooks.schema import BeforeStep, EscalationStep
from receiver.runs.model import PlannedAction, PlannedVerification, StoredPlan

_VERIFY_FOR_S, _VERIFY_TIMEOUT_S = 15.0, 180.0
# Longer than any step of a run takes, apart from an instance refresh of a large group.
_SEEN_WITHIN = "6h"
_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_MATCHED = re.compile(r'\b(\w+)(?:=~?|!=|!~)"')
_NO_ANSWER = "absent(vector(1))"
# Labels that say which alert it is, and in what state, not about whom.
_OF_STATE = frozenset({"alertname", "alertstate", "__name__"})
# What a host receives: its requests, whatever their protocol.
_TRAFFIC = ROLES["net_rx_bytes"]


def to_stored(plan: Plan, run_id: str, labels: Mapping[str, str]) -> StoredPlan:
    """The plan with its placeholders rendered for this target."""
    playbook, step = plan.playbook, plan.step
    verify = step.verify or playbook.verify
    values = {
        "instance_id": plan.instance_id,
        "asg": plan.group,
        "selector": plan.selector,
        "members": plan.members_selector,
        "host": plan.host_label,
        "run_id": run_id,
        "playbook": playbook.name,
        "healthy_version": plan.healthy_version,
    }
    quoted = {name: _quotable(value) for name, value in values.items()}
    # Parts of PromQL itself.
    quoted |= {"selector": plan.selector, "members": plan.members_selector}
    of_group = f'asg="{plan.group}",'
    where = plan.members_selector.removeprefix(of_group)
    where = where if of_group + where == plan.members_selector else ""

    def placed(expr: str) -> str:
        return at_place(str(render(expr, quoted)), plan.group, where)

    alert = AlertConditions(
        labels=labels,
        named_by=plan.named_by,
        selector=plan.selector,
        members=plan.members_selector,
        exporter=plan.exporter,
    )
    return StoredPlan(
        playbook=playbook.name,
        playbook_digest=playbook.digest,
        digest=plan.digest,
        rung=plan.rung,
        action=step.action,
        target=plan.target,
        group=plan.group,
        params=render(step.params, values),
        basis=plan.basis,
        identity={name: sorted(values) for name, values in plan.identity.items()},
        before=_planned(step.preparation, values),
        must_be_free=_must_be_free(plan),
        cooldown_s=playbook.cooldown_s,
        rates=playbook.limits.rates,
        bounds=playbook.limits.bounds,
        rollback=playbook.rollback,
        approval_s=playbook.approval_s,
        approvals=plan.approvals,
        consequences=plan.consequences,
        escalate=_planned(playbook.escalate, values),
        verify=PlannedVerification(
            expr=placed(verify.expr) if verify else alert.over,
            worse=placed(verify.worse) if verify and verify.worse else None,
            for_s=verify.for_s if verify else _VERIFY_FOR_S,
            timeout_s=verify.timeout_s if verify else _VERIFY_TIMEOUT_S,
            loaded=_loaded(plan, verify.under_load) if verify and verify.under_load else "",
            scraped="" if verify else alert.scraped,
            selector=plan.selector,
            siblings=plan.siblings,
            boot_time=plan.exporter.boot_time_of(plan.selector) or _NO_ANSWER,
            members=plan.members_selector,
            host_label=plan.host_label,
        ),
    )


def _planned(
    steps: Sequence[BeforeStep | EscalationStep], values: Mapping[str, str]
) -> Sequence[PlannedAction]:
    return [PlannedAction(action=step.action, params=render(step.params, values)) for step in steps]


def _must_be_free(plan: Plan) -> Sequence[str]:
    """The targets that no other run may hold: a group's instances, or an instance's group."""
    if plan.target == plan.group:
        return plan.members
    return [plan.group] if plan.group else []


@dataclass(frozen=True, kw_only=True)
class AlertConditions:
    """PromQL conditions on an alert with these labels.

    `named_by` is the label that names its target; `selector` has the matchers of an instance's
    series, `members` those of the group's, `exporter` is whose they are.
    """

    labels: Mapping[str, str]
    named_by: str
    selector: str
    members: str
    exporter: Exporter = NODE_EXPORTER

    @property
    def over(self) -> str:
        """Holds once Prometheus no longer fires the alert and scrapes its target.

        It has no value, and so is unknown, where this Prometheus never had the alert: another
        server evaluates the rules. A series of `ALERTS` is the alert if it names the target and no
        label contradicts: some, such as `external_labels`, are only in what is sent.
        https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules
        """
        if not self.scraped:
            return _NO_ANSWER
        targets = dict.fromkeys(filter(None, (self._named, self.selector)))
        alerts = [self._alert(target) for target in targets]
        firing = f"count({' or '.join(alerts)}) or vector(0)"
        fired = " or ".join(f"count_over_time({alert}[{_SEEN_WITHIN}])" for alert in alerts)
        # Without the last part, a target that no longer answers would look healthy.
        return f"(({firing}) == bool 0) * (count({fired}) > bool 0) * ({self.scraped})"

    @property
    def scraped(self) -> str:
        """Whether the instance, or a member of the group, is scraped; pushed metrics have no `up`.

        Empty where no label names the target.
        """
        of = self.selector or (self._named and self.members)
        presence = self.exporter.presence_of(of)
        return of and f"(sum(up{{{of}}}) or count({presence})) > bool 0"

    @property
    def _named(self) -> str:
        value = self.labels.get(self.named_by)
        return f"{self.named_by}={_quoted(value)}" if value else ""

    def _alert(self, target: str) -> str:
        """The firing alert about the target, of which these are the matchers."""
        left_out = {*_OF_STATE, *_MATCHED.findall(target)}
        rest = [
            f'{name}=~"{one_of(["", value])}"'
            for name, value in sorted(self.labels.items())
            if value and name not in left_out and _LABEL_NAME.fullmatch(name)
        ]
        name = f"alertname={_quoted(self.labels.get('alertname', ''))}"
        return f'ALERTS{{{",".join((name, target, *rest))},alertstate="firing"}}'


def _loaded(plan: Plan, share: float) -> str:
    """The condition of `under_load`; without an answer where the exporter tells no traffic."""
    if not plan.selector or not plan.siblings:
        return _NO_ANSWER
    try:
        return load_expr(plan.selector, plan.siblings, share, plan.exporter)
    except ValueError:
        return _NO_ANSWER


def load_expr(own: str, siblings: str, share: float, exporter: Exporter = NODE_EXPORTER) -> str:
    """Whether the target has `share` percent of its siblings' mean traffic, and they have some.

    `own` and `siblings` are the matchers of their series; the first label tells hosts apart.
    Raises ValueError where the exporter tells no traffic.
    """
    label = first_label(own)
    mine, others = (
        f"avg({query(selector, LATEST, [_TRAFFIC], label, exporter)})"
        for selector in (own, siblings)
    )
    return f"({mine} >= bool {share / 100} * {others}) * ({others} > bool 0)"


def _quoted(text: str) -> str:
    """Quote a label's text as a PromQL string."""
    return f'"{_quotable(text)}"'


def _quotable(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
