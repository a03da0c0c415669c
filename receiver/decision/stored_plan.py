"""A plan as the run stores it: all that acting and verifying need, even if playbooks change."""

from collections.abc import Mapping
from typing import Any

from receiver.decision.model import Plan
from receiver.playbooks.placeholders import render

_VERIFY_FOR_S, _VERIFY_TIMEOUT_S = 15.0, 180.0
_IDENTITY = ("alertname", "instance_id", "asg")


def to_stored(plan: Plan, run_id: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """The plan as JSON, with its placeholders rendered for this target."""
    playbook, step = plan.playbook, plan.step
    verify = step.verify or playbook.verify
    values = {
        "instance_id": plan.instance_id,
        "asg": plan.group,
        "run_id": run_id,
        "playbook": playbook.name,
    }
    quoted = {name: _quotable(value) for name, value in values.items()}
    return {
        "playbook": playbook.name,
        "version": playbook.digest,
        "digest": plan.digest,
        "rung": plan.rung,
        "action": step.action,
        "target": plan.target,
        "group": plan.group,
        "params": render(step.params, values),
        "basis": dict(plan.basis),
        "identity": {name: sorted(values) for name, values in plan.identity.items()},
        "before": [
            {"action": before.action, "params": render(before.params, values)}
            for before in step.before
        ],
        "beside": _beside(plan),
        "cooldown_s": playbook.cooldown_s,
        "limits": playbook.limits.model_dump(),
        "rollback": playbook.rollback,
        "approval_s": playbook.approval_s,
        "escalate": [
            {"action": escalation.action, "params": render(escalation.params, values)}
            for escalation in playbook.escalate
        ],
        "verify": {
            "expr": render(verify.expr, quoted) if verify else alert_cleared_expr(labels),
            "worse": render(verify.worse, quoted) if verify and verify.worse else None,
            "for_s": verify.for_s if verify else _VERIFY_FOR_S,
            "timeout_s": verify.timeout_s if verify else _VERIFY_TIMEOUT_S,
        },
    }


def _beside(plan: Plan) -> list[str]:
    if plan.target == plan.group:
        return list(plan.members)
    return [plan.group] if plan.group else []


def alert_cleared_expr(labels: Mapping[str, str]) -> str:
    """A condition that holds once Prometheus no longer fires the alert and scrapes its target.

    Source of `ALERTS`: https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules
    """
    alert = _matchers(labels, *_IDENTITY)
    # Without the second part, a target that no longer answers would look healthy.
    scraped = f"sum(up{{{_matchers(labels, 'instance_id', 'asg')}}}) > bool 0"
    return f'((count(ALERTS{{{alert},alertstate="firing"}}) or vector(0)) == bool 0) * ({scraped})'


def _matchers(labels: Mapping[str, str], *names: str) -> str:
    return ",".join(f"{name}={_quoted(labels[name])}" for name in names if labels.get(name))


def _quoted(text: str) -> str:
    """A PromQL string: a label's text is data, and stays inside its quotes."""
    return f'"{_quotable(text)}"'


def _quotable(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
