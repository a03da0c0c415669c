"""Converts a plan to the form that the run stores."""

from collections.abc import Mapping, Sequence

from receiver.decision.model import Plan
from receiver.playbooks.placeholders import render
from receiver.playbooks.schema import BeforeStep, EscalationStep
from receiver.runs.model import PlannedAction, PlannedVerification, StoredPlan

_VERIFY_FOR_S, _VERIFY_TIMEOUT_S = 15.0, 180.0
# Longer than any step of a run takes, apart from an instance refresh of a large group.
_SEEN_WITHIN = "6h"
# Labels that may tell a host apart where `instance` is that of an exporter for many.
_NAMES = ("instance", "exported_instance", "node", "nodename", "hostname", "host", "private_ip")
_NO_ANSWER = "absent(vector(1))"


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
        escalate=_planned(playbook.escalate, values),
        verify=PlannedVerification(
            expr=render(verify.expr, quoted)
            if verify
            else alert_cleared_expr(labels, plan.selector),
            worse=render(verify.worse, quoted) if verify and verify.worse else None,
            for_s=verify.for_s if verify else _VERIFY_FOR_S,
            timeout_s=verify.timeout_s if verify else _VERIFY_TIMEOUT_S,
            under_load=verify.under_load if verify else None,
            selector=plan.selector,
            siblings=plan.siblings,
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


def alert_cleared_expr(labels: Mapping[str, str], selector: str = "") -> str:
    """A condition that holds once Prometheus no longer fires the alert and scrapes its target.

    It has no value, and so is unknown, where this Prometheus never had the alert: another server
    evaluates the rules. A target without an `instance_id` is told by its other names, and one
    without any label is unknown. `selector` has the matchers of its series, where they are others.
    Source of `ALERTS`: https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules
    """
    names = ["instance_id"] if labels.get("instance_id") else _NAMES
    target = _matchers(labels, *names, "asg")
    if not target:
        # About no target, or about all of them.
        return _NO_ANSWER
    alertname = _matchers(labels, "alertname")
    alert = f'ALERTS{{{",".join(filter(None, (alertname, target)))},alertstate="firing"}}'
    fired = f"count(count_over_time({alert}[{_SEEN_WITHIN}])) > bool 0"
    # Without this part, a target that no longer answers would look healthy.
    scraped = f"sum(up{{{selector or target}}}) > bool 0"
    return f"((count({alert}) or vector(0)) == bool 0) * ({fired}) * ({scraped})"


def _matchers(labels: Mapping[str, str], *names: str) -> str:
    return ",".join(f"{name}={_quoted(labels[name])}" for name in names if labels.get(name))


def _quoted(text: str) -> str:
    """Quote a label's text as a PromQL string."""
    return f'"{_quotable(text)}"'


def _quotable(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
