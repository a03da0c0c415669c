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
    breaker: Breaker | None,
    armings: Sequence[Arming],
    effective_mode: Mode,
) -> dict[str, Any]:
    """A loaded playbook, with its effective mode and its armings."""
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
            "failures": breaker.failures if breaker else 0,
            "opened_at": rfc3339(breaker.opened_at) if breaker else None,
        },
        "goes": str(effective_mode),
        "armings": [arming_view(arming, playbook.digest) for arming in armings],
    }


def arming_view(arming: Arming, digest: str) -> dict[str, Any]:
    """An arming of a playbook; `digest` is the playbook's present one."""
    figures = arming.figures
    return {
        "service": arming.service or None,
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
