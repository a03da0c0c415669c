"""Perform one step effectively once: claim, intent, call, outcome, each on disk before the next.

A crash between any two leaves a record from which `execute`, called again, goes on: before the
call it starts over, after it the action's own `reconcile` reads AWS. What cannot be known is
`unknown`. An action that converges is then made again; another one never is.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from sqlalchemy import Connection

from actions.audit import log
from actions.aws import errors
from actions.aws.clients import Aws, on_behalf_of
from actions.aws.inventory import NotActionableError
from actions.base import Call, CallResult, Outcome
from actions.execution import claims, ledger
from actions.execution.disruption_budget import Bounds, Scope, read_scopes
from actions.execution.ledger import Intent, Stage
from actions.execution.step import Step, token
from actions.messaging import Messenger, MessengerError
from actions.reasons import Reason

# The scopes of a target in a group, or None.
Recent = Callable[[str, str, Bounds], Sequence[Scope] | None]

# Longer than a call takes to connect and to be answered: until then its absence proves nothing.
_MAY_ARRIVE_S = 15.0


def allow(connection: Connection, step: Step) -> Reason | None:
    """Nothing forbids it."""
    del connection, step
    return None


def none_recent(target: str, group: str, bounds: Bounds) -> Sequence[Scope] | None:
    """They are always read."""
    del target, group, bounds
    return None


def go_on() -> None:
    """Nobody else acts."""


@dataclass(frozen=True, kw_only=True)
class Executor:
    """`begin` opens a write transaction; `clock` gives epoch seconds.

    Both `begin` and `check`, which is asked right before the call, raise where this process must
    not act any more; what it began then goes on elsewhere. `forbids` is asked in the transaction
    of the claim, and again in the one right before the call: what people have said about this step
    meanwhile. `recent` knows scopes that were read so lately that they need not be read again.
    """

    aws: Aws
    messenger: Messenger
    begin: Callable[[], AbstractContextManager[Connection]]
    clock: Callable[[], float]
    forbids: Callable[[Connection, Step], Reason | None] = allow
    check: Callable[[], None] = go_on
    recent: Recent = none_recent

    def execute(self, step: Step) -> Intent | Reason:
        """The step as it ended, or why it may not begin.

        Raises botocore's errors where reading failed before anything was sent: try again later.
        """
        with self.begin() as connection:
            intent = ledger.read(connection, step.run_id, step.index)
        if intent is None:
            begun = self._intend(step)
            return begun if isinstance(begun, Reason) else self._begin(step, begun)
        if intent.stage is Stage.INTENT:
            return self._dispatch(step, intent)
        if intent.stage is Stage.DISPATCHED:
            return self._resume(step, intent)
        return intent

    def call(self, intent: Intent) -> Call:
        """The step as its action sees it."""
        return Call(
            aws=self.aws,
            messenger=self.messenger,
            target=intent.target,
            params=intent.params,
            token=token(intent.run_id, intent.step),
            before=intent.before,
            made=intent.made,
        )

    def abandon(self, intent: Intent) -> Intent:
        """Close an intent from which nothing was sent, and never will be."""
        return self._settle(intent, CallResult(Outcome.FAILED), "given up before it was sent")

    def leave(self, step: Step, intent: Intent) -> Intent:
        """Settle a step that is not gone on with: what may have been sent is read from AWS."""
        if intent.stage is Stage.INTENT:
            return self.abandon(intent)
        if intent.stage is Stage.DISPATCHED:
            return self._settle(intent, *self._left_over(step, intent))
        return intent

    def _intend(self, step: Step) -> Intent | Reason:
        fence = self._claim(step)
        if isinstance(fence, Reason):
            return fence
        now = self.clock()
        stage, outcome, error = Stage.INTENT, None, None
        call = Call(
            aws=self.aws,
            messenger=self.messenger,
            target=step.target,
            params=step.params,
            token=step.token,
            keep=0 if step.reverses else step.bounds.min_healthy or 0,
        )
        before: Mapping[str, Any] = {}
        try:
            with on_behalf_of(step.run_id):
                self._check_left(step)
                call = replace(call, params=dict(step.action.bind(call)))
                observation = step.action.observe(call)
            before = dict(observation.before)
            if observation.already:
                stage, outcome = Stage.OBSERVED, Outcome.NOOP
        except (NotActionableError, MessengerError) as refusal:
            stage, outcome, error = Stage.OBSERVED, Outcome.FAILED, str(refusal)
        return Intent(
            run_id=step.run_id,
            step=step.index,
            action=step.action.name,
            target=step.target,
            params=call.params,
            before=before,
            undoes=step.reverses.intent.step if step.reverses else None,
            fence=fence,
            stage=stage,
            outcome=outcome,
            error=error,
            started_at=now,
            ended_at=self.clock() if outcome else None,
        )

    def _claim(self, step: Step) -> int | Reason:
        found: Sequence[Scope] = ()
        if step.action.removes_capacity and step.reverses is None:
            found = self._scopes(step)
        with self.begin() as connection:
            now = self.clock()
            denial = self.forbids(connection, step)
            fence = denial or claims.take(connection, step.claim_request(found), now)
            if not isinstance(fence, Reason):
                log.append(connection, now, _claimed(step, fence))
        return fence

    def _scopes(self, step: Step) -> Sequence[Scope]:
        found = self.recent(step.target, step.group, step.bounds)
        if found is not None:
            return found
        try:
            return read_scopes(self.aws, step.target, step.group, step.bounds)
        except NotActionableError:
            # Said by the action itself, in its own words.
            return ()

    def _check_left(self, step: Step) -> None:
        """What a person has changed since is not taken back."""
        undoing = step.reverses
        if undoing is not None and not undoing.action.unchanged_since(self.call(undoing.intent)):
            raise NotActionableError(
                f"{step.target} is not as {undoing.intent.action} left it: somebody changed it"
            )

    def _begin(self, step: Step, intent: Intent) -> Intent | Reason:
        """Put a new step on record, and that it is sent, where there is something to send."""
        lost, stages = None, [intent]
        with self.begin() as connection:
            if intent.stage is Stage.INTENT:
                lost = self._lost(connection, step, intent)
                sent = replace(intent, stage=Stage.DISPATCHED, dispatched_at=self.clock())
                stages += [] if lost else [sent]
            ledger.write(connection, *stages)
        return self._send(step, intent, lost) if intent.stage is Stage.INTENT else intent

    def _dispatch(self, step: Step, intent: Intent) -> Intent | Reason:
        """Send what was left behind before it was sent."""
        with self.begin() as connection:
            lost = self._lost(connection, step, intent)
            if lost is None and not ledger.dispatch(connection, intent, self.clock()):
                return Reason.TARGET_BUSY
        return self._send(step, intent, lost)

    def _send(self, step: Step, intent: Intent, lost: Reason | None) -> Intent | Reason:
        if lost is not None:
            self.abandon(intent)
            return lost
        return self._settle(intent, *self._call(step, intent))

    def _lost(self, connection: Connection, step: Step, intent: Intent) -> Reason | None:
        return self.forbids(connection, step) or claims.lost(
            connection, intent.target, intent.run_id, intent.fence
        )

    def _resume(self, step: Step, intent: Intent) -> Intent:
        """Go on after a crash that may have hit before or after the call."""
        settled, error = self._left_over(step, intent)
        if settled.outcome is not Outcome.CHANGED and step.action.idempotent:
            with self.begin() as connection:
                lost = self._lost(connection, step, intent)
            if lost is None:
                settled, error = self._call(step, intent)
        return self._settle(intent, settled, error)

    def _left_over(self, step: Step, intent: Intent) -> tuple[CallResult, str | None]:
        """What became of a call whose sender is gone, or another process: it may still arrive."""
        settled, error = self._reconciled(step, intent, "no answer was recorded")
        young = self.clock() - (intent.dispatched_at or 0.0) < _MAY_ARRIVE_S
        if settled.outcome is Outcome.FAILED and young:
            return CallResult(Outcome.UNKNOWN), error
        return settled, error

    def _call(self, step: Step, intent: Intent) -> tuple[CallResult, str | None]:
        self.check()
        try:
            with on_behalf_of(intent.run_id):
                made = step.action.act(self.call(intent))
        except NotActionableError as refusal:
            return self._refused(step, intent, str(refusal))
        except MessengerError as error:
            settle = self._reconciled if error.sent else self._refused
            return settle(step, intent, str(error))
        except (ClientError, BotoCoreError) as error:
            name, refused = errors.read(error)
            settle = self._refused if refused else self._reconciled
            return settle(step, intent, name)
        return CallResult(Outcome.CHANGED, made), None

    def _refused(self, step: Step, intent: Intent, why: str) -> tuple[CallResult, str | None]:
        """What was refused did not happen; of several attempts an earlier one may have."""
        if step.action.idempotent:
            return self._reconciled(step, intent, why)
        return CallResult(Outcome.FAILED), why

    def _reconciled(self, step: Step, intent: Intent, lost: str) -> tuple[CallResult, str | None]:
        """Settle a call whose answer was lost, by what AWS shows now."""
        try:
            with on_behalf_of(intent.run_id):
                settled = step.action.read_back(self.call(intent))
        except (BotoCoreError, ClientError, NotActionableError, MessengerError):
            settled = CallResult(Outcome.UNKNOWN)
        return settled, None if settled.outcome is Outcome.CHANGED else lost

    def _settle(self, intent: Intent, settled: CallResult, error: str | None) -> Intent:
        with self.begin() as connection:
            ledger.settle(connection, intent, settled, error, self.clock())
            after = ledger.read(connection, intent.run_id, intent.step)
        if after is None:
            raise LookupError("the step has no intent")
        return after


def _claimed(step: Step, fence: int) -> log.Event:
    detail = {"target": step.target, "action": step.action.name, "fence": fence}
    return log.Event(actor="smartcloudops", event="claimed", run_id=step.run_id, detail=detail)
