"""Perform one step effectively once: claim, intent, call, outcome, each on disk before the next.

A crash between any two leaves a record from which `perform`, called again, goes on: before the
call it starts over, after it the action's own `reconcile` reads AWS. What cannot be known is
`unknown`, and an action that does not converge is then never repeated.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
)
from sqlalchemy import Connection

from actions import audit, claims, ledger
from actions.action import Action, Outcome
from actions.aws import Aws, on_behalf_of
from actions.claims import Denial
from actions.fleet import NotActionableError
from actions.ledger import Intent, Stage

# Errors after which the request surely never reached the service.
_NEVER_SENT = (
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
)
_SERVER_ERROR = 500
# Answered with a 503 by EC2, and yet a plain refusal: nothing was done.
_THROTTLED = frozenset(
    {"RequestLimitExceeded", "Throttling", "ThrottlingException", "RequestThrottled"}
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """`index` counts the steps this run took, from 0.

    `beside` are targets that no other run may hold meanwhile: an instance's group, a group's
    instances.
    """

    run_id: str
    index: int
    action: Action
    target: str
    params: Mapping[str, Any]
    cooldown_s: float
    beside: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Performer:
    """`begin` opens a write transaction; `clock` gives epoch seconds."""

    aws: Aws
    begin: Callable[[], AbstractContextManager[Connection]]
    clock: Callable[[], float]

    def perform(self, step: Step) -> Intent | Denial:
        """The step as it ended, or why it may not begin.

        Raises botocore's errors where reading failed before anything was sent: try again later.
        """
        with self.begin() as connection:
            intent = ledger.read(connection, step.run_id, step.index)
        if intent is None:
            begun = self._intend(step)
            if isinstance(begun, Denial):
                return begun
            intent = begun
        if intent.stage is Stage.INTENT:
            return self._dispatch(step, intent)
        if intent.stage is Stage.DISPATCHED:
            return self._settle(intent, *self._reconciled(step, intent, "no answer was recorded"))
        return intent

    def abandon(self, intent: Intent) -> Intent:
        """Close an intent from which nothing was sent, and never will be."""
        return self._settle(intent, Outcome.FAILED, "given up before it was sent")

    def _intend(self, step: Step) -> Intent | Denial:
        now = self.clock()
        with self.begin() as connection:
            fence = claims.take(
                connection,
                step.target,
                step.run_id,
                beside=step.beside,
                cooldown_s=step.cooldown_s,
                now=now,
            )
            if isinstance(fence, Denial):
                return fence
            audit.append(connection, now, _claimed(step, fence))
        stage, outcome, error = Stage.INTENT, None, None
        params, before = dict(step.params), {}
        try:
            with on_behalf_of(step.run_id):
                params = step.action.resolve(self.aws, step.target, step.params)
                observation = step.action.observe(self.aws, step.target, params)
            before = dict(observation.before)
            if observation.already:
                stage, outcome = Stage.OBSERVED, Outcome.NOOP
        except NotActionableError as refusal:
            stage, outcome, error = Stage.OBSERVED, Outcome.FAILED, str(refusal)
        intent = Intent(
            run_id=step.run_id,
            step=step.index,
            action=step.action.name,
            target=step.target,
            params=params,
            before=before,
            fence=fence,
            stage=stage,
            outcome=outcome,
            error=error,
            started_at=now,
            ended_at=self.clock() if outcome else None,
        )
        with self.begin() as connection:
            ledger.write(connection, intent)
        return intent

    def _dispatch(self, step: Step, intent: Intent) -> Intent | Denial:
        now = self.clock()
        with self.begin() as connection:
            lost = claims.lost(connection, intent.target, intent.run_id, intent.fence)
            if lost is None and not ledger.dispatch(connection, intent, now):
                return Denial.TARGET_BUSY
        if lost is not None:
            self.abandon(intent)
            return lost
        outcome, error = self._call(step, intent)
        return self._settle(intent, outcome, error)

    def _call(self, step: Step, intent: Intent) -> tuple[Outcome, str | None]:
        try:
            with on_behalf_of(intent.run_id):
                step.action.act(self.aws, intent.target, intent.params)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            status = error.response["ResponseMetadata"].get("HTTPStatusCode", _SERVER_ERROR)
            refused = status < _SERVER_ERROR or code in _THROTTLED
            # Of several attempts an earlier one may have gone through.
            if refused and not step.action.converges:
                return Outcome.FAILED, code
            return self._reconciled(step, intent, code)
        except _NEVER_SENT as error:
            if step.action.converges:
                return self._reconciled(step, intent, type(error).__name__)
            return Outcome.FAILED, type(error).__name__
        except BotoCoreError as error:
            return self._reconciled(step, intent, type(error).__name__)
        return Outcome.CHANGED, None

    def _reconciled(self, step: Step, intent: Intent, lost: str) -> tuple[Outcome, str | None]:
        """Settle a call whose answer was lost, by what AWS shows now."""
        try:
            with on_behalf_of(intent.run_id):
                outcome = step.action.reconcile(
                    self.aws, intent.target, intent.params, intent.before
                )
        except (BotoCoreError, ClientError, NotActionableError):
            outcome = Outcome.UNKNOWN
        return outcome, None if outcome is Outcome.CHANGED else lost

    def _settle(self, intent: Intent, outcome: Outcome, error: str | None) -> Intent:
        with self.begin() as connection:
            ledger.settle(connection, intent, outcome, error, self.clock())
            settled = ledger.read(connection, intent.run_id, intent.step)
        if settled is None:
            raise LookupError("the step has no intent")
        return settled


def _claimed(step: Step, fence: int) -> audit.Event:
    detail = {"target": step.target, "action": step.action.name, "fence": fence}
    return audit.Event(actor="smartcloudops", event="claimed", run_id=step.run_id, detail=detail)
