"""The step that follows at once where AWS refused a part of another one, lest that does harm."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from actions.aws.client_set import on_behalf_of
from actions.aws.errors import AWS_ERRORS
from actions.aws.target_errors import NotActionableError
from actions.base import Outcome
from actions.execution import ledger
from actions.execution.ledger import Intent
from actions.execution.step import Step

if TYPE_CHECKING:
    from actions.execution.executor import Executor

# Positions before a step of the ladder, one for each try: those of a playbook come earlier.
_POSITIONS = range(5, 10)


def follow(executor: "Executor", step: Step, intent: Intent) -> None:
    """Try once the `safeguard` of a step with an unknown outcome, unless it was done.

    It is tried again when the step is looked at next.
    """
    action = step.action.safeguard
    if action is None or intent.outcome is not Outcome.UNKNOWN:
        return
    with executor.begin() as connection:
        tries = {
            (key := step.key.before(position)): ledger.read_intent(connection, step.run_id, key)
            for position in _POSITIONS
        }
    left = [
        key for key, tried in tries.items() if tried is None or tried.outcome is not Outcome.FAILED
    ]
    tried = tries[left[0]] if left else None
    if not left or (tried is not None and tried.outcome is not None):
        return
    with suppress(*AWS_ERRORS, NotActionableError):
        wanted = (tried.target, tried.params) if tried else _wanted(executor, step, intent)
        if wanted is not None:
            target, params = wanted
            free = replace(step, cooldown_s=0.0, must_be_free=(), counts=False)
            executor.execute(
                replace(free, key=left[0], action=action, target=target, params=params)
            )


def _wanted(
    executor: "Executor", step: Step, intent: Intent
) -> tuple[str, Mapping[str, Any]] | None:
    with on_behalf_of(step.run_id):
        return step.action.must_follow(executor.call(intent))
