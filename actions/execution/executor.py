"""Executes one step effectively once, with each record committed before the next.

The records are claim, intent, call and outcome; all up to the call are on disk before it is sent.
After a crash `execute` is called again. If no call can have been sent, the step starts over;
otherwise the action's `read_back` reads from AWS what happened. An outcome that cannot be known is
`unknown`; then only an idempotent action is called again, if the target's state still allows it.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeAlias

from sqlalchemy import Connection

from actions.aws import errors
from actions.aws.causes import Cause, Failure
from actions.aws.client_set import Aws, on_behalf_of
from actions.aws.target_errors import NotActionableError, PartlyDoneError
from actions.base import Call, CallResult, Outcome
from actions.evidence import EvidenceStore
from actions.execution import claims, debts, ledger, safeguards
from actions.execution.ledger import Intent, Stage
from actions.execution.preparation import Begin, Preparation, RecentGroup, RecentScopes
from actions.execution.records import STANDALONE_PERCENT
from actions.execution.step import Step, call_of
from actions.messaging import Messenger, MessengerError
from actions.place import Place
from actions.refusal import Refusal

# What became of a call, and why it failed.
_Ended: TypeAlias = tuple[CallResult, Failure | None]
_NO_ANSWER = Failure(name="no answer was recorded", refused=False, cause=Cause.PASSING)


@dataclass(frozen=True, kw_only=True)
class Executor:
    """Executes steps; `clock` gives epoch seconds.

    `begin` opens a write transaction; `ask` opens what waits for no writer, each query by itself.

    `aws_at` gives the clients of a place. `check` runs right before the call. `begin` and `check`
    raise if this process may no longer act; another process then continues the step. `forbids`
    returns the refusal by people's latest orders: it runs in the transaction of the claim, and
    again in the one right before the call. `recent_scopes` and `recent_group` return what was
    recently read, once, or None; `target_groups` what the last decision saw of a group, for what is
    captured.
    """

    aws_at: Callable[[Place], Aws]
    messenger: Messenger
    begin: Begin
    ask: Callable[[], AbstractContextManager[Connection]]
    clock: Callable[[], float]
    forbids: Callable[[Connection, Step], Refusal | None]
    check: Callable[[], None]
    recent_scopes: RecentScopes
    recent_group: RecentGroup
    target_groups: Callable[[Place, str], Sequence[str] | None] = lambda *_: None
    evidence: EvidenceStore | None = None
    standalone_percent: Callable[[Place], float] = lambda _: STANDALONE_PERCENT

    @cached_property
    def _preparation(self) -> Preparation:
        return Preparation(
            aws_at=self.aws_at,
            messenger=self.messenger,
            begin=self.begin,
            ask=self.ask,
            clock=self.clock,
            forbids=self.forbids,
            recent_scopes=self.recent_scopes,
            recent_group=self.recent_group,
            standalone_percent=self.standalone_percent,
            evidence=self.evidence,
        )

    def execute(self, step: Step) -> Intent | Refusal:
        """Returns the intent with its outcome, or the refusal of the step.

        If its safeguard could not be taken first, returns those of the safeguard.

        Raises botocore's errors where reading failed before anything was sent, and
        StillChangingError where a rollback must wait for AWS: try again later.
        """
        with self.ask() as connection:
            intent = ledger.read_intent(connection, step.run_id, step.key)
            earlier = safeguards.read_preceding(connection, step)
        if intent is None:
            if (stopped := safeguards.precede(self, step, earlier)) is not None:
                return stopped
            prepared = self._preparation.prepare(step)
            return prepared if isinstance(prepared, Refusal) else self._start(step, prepared)
        if intent.stage is Stage.DISPATCHED:
            return self._resume(step, intent)
        return intent

    def call(self, intent: Intent) -> Call:
        """The step as its action sees it."""
        return call_of(intent, self.aws_at(intent.place), self.messenger, self.evidence)

    def why_not_feasible(self, step: Step) -> Refusal | None:
        """Why AWS would not take the step now, by what its action reads; nothing is claimed."""
        return self._preparation.why_not_feasible(step)

    def settle_unfinished(self, step: Step, intent: Intent) -> Intent:
        """Settle an abandoned step by reading back a call that may have been sent."""
        if intent.stage is not Stage.DISPATCHED:
            return intent
        return self._settle(step, intent, self._settle_after_crash(step, intent))

    def cancel(self, step: Step, intent: Intent) -> Intent:
        """Ask AWS to end a step that takes too long, unless it cannot, or all is paused.

        It is asked again only where it shows later that it did not. Raises botocore's errors.
        """
        call = self.call(intent)
        lost = intent.cancelled_at is None or (
            self._is_shown(step, intent) and step.action.must_cancel(call)
        )
        if not lost or not step.action.can_cancel(call):
            return intent
        with self.begin() as connection:
            if claims.why_lost(connection, intent, reverses=True) is not None:
                return intent
            intent = ledger.record_cancel(connection, intent, self.clock())
        self.check()
        with on_behalf_of(intent.run_id):
            step.action.cancel(self.call(intent))
        return intent

    def advance(self, step: Step, intent: Intent) -> Intent:
        """Make the step's next call, or cancel the step, once its action says so.

        Raises NotActionableError or botocore's errors where reading failed.
        """
        if intent.stage is Stage.DISPATCHED:
            return self._settle(step, intent, self._settle_after_crash(step, intent))
        cancelling = intent.cancelled_at is not None and not self._is_shown(step, intent)
        if intent.outcome is not Outcome.CHANGED or cancelling:
            return intent
        call = self.call(intent)
        with on_behalf_of(intent.run_id):
            if step.action.must_cancel(call):
                return self.cancel(step, intent)
            made = step.action.next_call(call)
        if made is None:
            return intent
        with self.begin() as connection:
            if self._why_not_any_more(connection, step, intent) is not None:
                return intent
            intent = ledger.record_next(connection, intent, made, self.clock())
        return self._settle(step, intent, self._call(step, intent, seen=call.seen))

    def settle_lost(self, step: Step, intent: Intent) -> Intent:
        """Read back a call without an answer; the same intent while AWS shows nothing of it.

        That it did not happen is believed only once AWS must show it.
        """
        safeguards.follow(self, step, intent)
        if intent.outcome is not Outcome.UNKNOWN:
            return intent
        lost = Failure(name=intent.error or "", refused=False, cause=intent.cause or Cause.PASSING)
        result, failure = self._read_back(step, intent, lost)
        same = result.outcome is Outcome.UNKNOWN and result.made == intent.made
        if same or (result.outcome is Outcome.FAILED and not self._is_shown(step, intent)):
            return intent
        return self._settle(step, intent, (result, failure))

    def _is_shown(self, step: Step, intent: Intent) -> bool:
        return ledger.is_shown(intent, step.action.shown_within_s, self.clock())

    def _start(self, step: Step, intent: Intent) -> Intent | Refusal:
        """Record the new step, and call AWS where a call is needed."""
        if intent.stage is not Stage.INTENT:
            with self.begin() as connection:
                claimed = step.escalates or step.action.claims
                refusal = None if claimed else self._why_not_any_more(connection, step, intent)
                if refusal is None:
                    ledger.record(connection, intent)
            return refusal or intent
        refusal = self._record_dispatch(step, intent)
        return refusal or self._settle(step, intent, self._call(step, intent))

    def _record_dispatch(self, step: Step, intent: Intent) -> Refusal | None:
        """Record the intent and its dispatch, or the refusal to send it, in one transaction."""
        with self.begin() as connection:
            refusal, now = self._why_not_any_more(connection, step, intent), self.clock()
            if refusal is not None and not (step.escalates or step.action.claims):
                # It was not asked before, so that nothing has begun.
                return refusal
            after = (
                replace(intent, stage=Stage.DISPATCHED, dispatched_at=now)
                if refusal is None
                else replace(
                    intent,
                    stage=Stage.SETTLED,
                    outcome=Outcome.FAILED,
                    error="closed before the call was sent",
                    ended_at=now,
                    result=ledger.first_result(intent.step, Outcome.FAILED),
                )
            )
            ledger.record(connection, intent, after)
            if refusal is None and step.action.released_at_end:
                debts.open_debt(connection, after)
        return refusal

    def _why_not_any_more(
        self, connection: Connection, step: Step, intent: Intent
    ) -> Refusal | None:
        if step.escalates or not step.action.claims:
            return self._preparation.why_forbidden(connection, step)
        lost = claims.why_lost(connection, intent, reverses=step.reverses is not None)
        return self.forbids(connection, step) or lost

    def _resume(self, step: Step, intent: Intent) -> Intent:
        """Continue after a crash that may have hit before or after the call."""
        result, failure = self._settle_after_crash(step, intent)
        repeats = step.action.idempotent and ledger.EARLIER not in intent.made
        if result.outcome is not Outcome.CHANGED and repeats:
            with self.begin() as connection:
                refusal = self._why_not_any_more(connection, step, intent)
            if refusal is None and self._is_still_possible(step, intent):
                result, failure = self._call(step, intent, again=True)
        return self._settle(step, intent, (result, failure))

    def _is_still_possible(self, step: Step, intent: Intent) -> bool:
        """Whether the target's state still allows the call: much may have changed since the crash.

        Unknown where it cannot be read; then the call is not made.
        """
        try:
            with on_behalf_of(intent.run_id):
                step.action.observe(self.call(intent))
        except (*errors.AWS_ERRORS, NotActionableError, MessengerError):
            return False
        return True

    def _settle_after_crash(self, step: Step, intent: Intent) -> _Ended:
        """The result of a call whose sender crashed."""
        # Measured before the read: the call may arrive while the read waits for its answer.
        young = self.clock() - intent.sent_at < step.action.shown_within_s
        return (self._lost if young else self._read_back)(step, intent, _NO_ANSWER)

    def _call(
        self,
        step: Step,
        intent: Intent,
        *,
        again: bool = False,
        seen: Mapping[str, Any] = MappingProxyType({}),
    ) -> _Ended:
        """The result of the call; if it is made `again`, the first one may be shown later."""
        self.check()
        call = replace(
            self.call(intent),
            seen={**seen},
            group_name=step.group,
            target_groups=self.target_groups(step.place, step.group) if step.group else None,
        )
        try:
            with on_behalf_of(intent.run_id):
                created = step.action.act(call)
        except NotActionableError as refusal:
            failure = Failure(name=str(refusal), refused=True, cause=Cause.STATE)
        except MessengerError as error:
            failure = Failure(name=str(error), refused=not error.sent, cause=Cause.PASSING)
        except (*errors.AWS_ERRORS, PartlyDoneError) as error:
            failure = errors.classify(error)
        else:
            return CallResult(Outcome.CHANGED, created), None
        if not failure.refused or again:
            return self._lost(step, intent, failure)
        # Without an earlier attempt, what AWS shows now is another's doing.
        refused = CallResult(Outcome.FAILED), failure
        return self._read_back(step, intent, failure) if failure.retried else refused

    def _lost(self, step: Step, intent: Intent, why: Failure) -> _Ended:
        """The result of a recent call without an answer: it may arrive, or be shown, later."""
        result, failure = self._read_back(step, intent, why)
        seen = result.outcome is not Outcome.FAILED
        return result if seen else CallResult(Outcome.UNKNOWN), failure

    def _read_back(self, step: Step, intent: Intent, why: Failure) -> _Ended:
        """The result of a call without an answer, by what AWS shows now."""
        try:
            with on_behalf_of(intent.run_id):
                result = step.action.read_back(self.call(intent))
        except (*errors.AWS_ERRORS, NotActionableError, MessengerError):
            result = CallResult(Outcome.UNKNOWN)
        return result, None if result.outcome is Outcome.CHANGED else why

    def _settle(self, step: Step, intent: Intent, ended: _Ended) -> Intent:
        # What power loss undoes is read back from AWS, as after any crash.
        with self.begin(synced=False) as connection:
            settled = ledger.settle(connection, intent, *ended, self.clock())
        safeguards.follow(self, step, settled)
        return settled
