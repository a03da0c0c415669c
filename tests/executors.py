"""An executor outside of a service, where people forbid nothing and no other leads; a claim."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from actions.aws.client_set import Aws
from actions.execution.executor import Executor
from actions.execution.preparation import Begin
from actions.execution.records import ClaimRequest, Rates
from actions.messaging import Messenger, NullMessenger
from actions.place import HOME
from actions.step_key import StepKey, StepKind


def executor(
    aws: Aws,
    begin: Begin,
    clock: Callable[[], float],
    messenger: Messenger | None = None,
) -> Executor:
    """Scopes are read from AWS for each claim."""
    return Executor(
        aws_at=lambda _: aws,
        messenger=messenger or NullMessenger(),
        begin=begin,
        ask=begin,
        clock=clock,
        forbids=lambda _connection, _step: None,
        check=lambda: None,
        recent_scopes=lambda *_: None,
        recent_group=lambda *_: None,
    )


def claim_request(target: str, run_id: str, **more: Any) -> ClaimRequest:
    """A claim on the target, with a short cooldown."""
    request = ClaimRequest(
        run_id=run_id,
        step=StepKey(StepKind.LADDER, 0),
        place=HOME,
        target=target,
        group="",
        playbook="high-cpu",
        cooldown_s=1,
        rates=Rates(),
        counts=True,
    )
    return replace(request, **more)
