"""The steps without which another one would do harm: one before it, or one that follows at once.

The latter follows where AWS refused a part of it.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from actions.aws.client_set import on_behalf_of
from actions.aws.errors import AWS_ERRORS
from actions.aws.target_errors import NotActionableError
from actions.base import Call, Outcome
from actions.execution import ledger
from actions.execution.ledger import Intent
from actions.execution.step import Step
from actions.refusal import Refusal

if TYPE_CHECKING:
    from actions.execution.executor import Executor

# Positions before a step of the ladder: those of a playbook come earlier.
_FIRST = 4
# One for each try.
_POSITIONS = range(5, 10)


def read_preceding(connection: Connection, step: Step) -> Intent | None:
    """The recorded safeguard that precedes the step."""
    if step.action.safeguard is None or step.reverses is not None:
        return None
    return ledger.read_intent(connection, step.run_id, step.key.before(_FIRST))


def precede(executor: "Executor", step: Step, earlier: Intent | None) -> Intent | Refusal | None:
    """Take the `safeguard` that must precede the step, once. Returns what stops the step, or None.

    `earlier` is the recorded one. Raises botocore's errors where reading failed.
    """
    if step.action.safeguard is None or step.reverses is not None:
        return None
    wanted = (earlier.target, earlier.params) if earlier else _wanted_first(executor, step)
    if wanted is None:
        return None
    result = executor.execute(_safeguard_of(step, _FIRST, *wanted))
    taken = isinstance(result, Intent) and result.outcome in {Outcome.CHANGED, Outcome.NOOP}
    return None if taken else result


def follow(executor: "Executor", step: Step, intent: Intent) -> None:
    """Try once the `safeguard` of a step with an unknown outcome, unless it was done.

    It is tried again when the step is looked at next.
    """
    if step.action.safeguard is None or intent.outcome is not Outcome.UNKNOWN:
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
            executor.execute(_safeguard_of(step, left[0].position, *wanted))


def _safeguard_of(step: Step, position: int, target: str, params: Mapping[str, Any]) -> Step:
    """The step's safeguard; it has no limits of its own. Raises LookupError without one."""
    if step.action.safeguard is None:
        raise LookupError(f"{step.action.name} has no safeguard")
    return replace(
        step,
        key=step.key.before(position),
        action=step.action.safeguard,
        target=target,
        params=params,
        cooldown_s=0.0,
        must_be_free=(),
        counts=False,
    )


def _wanted_first(executor: "Executor", step: Step) -> tuple[str, Mapping[str, Any]] | None:
    """Nothing where the target's state does not allow the step: the step itself says so."""
    with on_behalf_of(step.run_id), suppress(NotActionableError):
        return step.action.must_precede(
            Call(
                aws=executor.aws_at(step.place),
                messenger=executor.messenger,
                target=step.target,
                params=step.params,
                token=step.token,
            )
        )
    return None


def _wanted(
    executor: "Executor", step: Step, intent: Intent
) -> tuple[str, Mapping[str, Any]] | None:
    with on_behalf_of(step.run_id):
        return step.action.must_follow(executor.call(intent))
