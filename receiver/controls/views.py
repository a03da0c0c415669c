"""Playbooks and their armings as the API shows them."""

from collections.abc import Sequence
from typing import Any

from actions.catalog.registry import find_action
from actions.execution.records import Breaker
from receiver.controls.records import Arming
from receiver.playbooks.schema import Playbook
from receiver.runtime.rfc3339 import rfc3339
from receiver.settings import Mode


def playbook_view(
    playbook: Playbook,
    breakers: Sequence[Breaker],
    armings: Sequence[Arming],
    effective_mode: Mode,
) -> dict[str, Any]:
    """A loaded playbook, with its effective mode, its circuit breakers and its armings.

    `breaker` tells of the worst of the `breakers`, which are by account and region.
    """
    opened = [breaker.opened_at for breaker in breakers if breaker.opened_at is not None]
    return {
        "name": playbook.name,
        "description": playbook.description.strip(),
        "match": [str(matcher) for matcher in playbook.match],
        "mode": str(playbook.mode),
        "digest": playbook.digest,
        "cooldown_s": playbook.cooldown_s,
        "limits": playbook.limits.model_dump(),
        "undecided": playbook.undecided.model_dump(),
        "steps": [
            {
                "action": step.action,
                "params": step.params,
                "when": str(step.when) if step.when else None,
                "ask": step.ask or find_action(step.action).needs_approval,
            }
            for step in playbook.steps
        ],
        "rollback": playbook.rollback,
        "breaker": {
            "failures": max((breaker.failures for breaker in breakers), default=0),
            "opened_at": rfc3339(max(opened, default=None)),
        },
        "breakers": [
            {
                "account": breaker.account or None,
                "region": breaker.region or None,
                "failures": breaker.failures,
                "opened_at": rfc3339(breaker.opened_at),
            }
            for breaker in breakers
        ],
        "goes": str(effective_mode),
        "armings": [arming_view(arming, playbook.digest) for arming in armings],
    }


def arming_view(arming: Arming, digest: str) -> dict[str, Any]:
    """An arming of a playbook; `digest` is the playbook's present one."""
    figures = arming.figures
    return {
        "service": arming.service or None,
        "account": arming.account or None,
        "region": arming.region or None,
        "mode": str(arming.mode),
        "canary_percent": arming.canary_percent,
        "by": arming.by,
        "comment": arming.comment,
        "at": rfc3339(arming.at),
        "since": rfc3339(arming.since),
        "changed": arming.mode is not Mode.OBSERVE and arming.digest != digest,
        "justification": {**figures, "since": rfc3339(figures["since"])} if figures else None,
        "despite": list(arming.despite),
    }
