"""Prepares a step before its call: claims the target, observes it, makes parameters absolute."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

from sqlalchemy import Connection

from actions.audit import log
from actions.aws import errors
from actions.aws.causes import Cause
from actions.aws.client_set import Aws, on_behalf_of
from actions.aws.groups import Group, read_group
from actions.aws.target_errors import NotActionableError, StillChangingError
from actions.base import Call, Outcome
from actions.evidence import EvidenceStore
from actions.execution import claims, kill_switch, ledger, rules
from actions.execution.disruption_budget import (
    LeftGroupError,
    read_group_scopes,
    read_scopes,
)
from actions.execution.ledger import Intent, Stage
from actions.execution.records import Bounds, Scope
from actions.execution.step import Step, call_of
from actions.messaging import Messenger, MessengerError
from actions.place import Place
from actions.reasons import Reason
from actions.refusal import Refusal
from actions.step_key import StepKind


class Begin(Protocol):
    """Opens a write transaction; one that is not `synced` waits for no disk.

    A loss of power may then undo it, unless a synced one follows.
    """

    def __call__(self, *, synced: bool = True) -> AbstractContextManager[Connection]: ...


# Returns the scopes of a target in a group, or None.
RecentScopes = Callable[[Place, str, str, Bounds], Sequence[Scope] | None]
# Returns a group that was just read, once, or None.
RecentGroup = Callable[[Place, str], Group | None]

# The fence of a step without a claim; fences of claims start at 1.
_NO_FENCE = 0


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Prepares steps; `Executor` has the meaning of each field."""

    aws_at: Callable[[Place], Aws]
    messenger: Messenger
    begin: Begin
    ask: Callable[[], AbstractContextManager[Connection]]
    clock: Callable[[], float]
    forbids: Callable[[Connection, Step], Refusal | None]
    recent_scopes: RecentScopes
    recent_group: RecentGroup
    standalone_percent: Callable[[Place], float]
    evidence: EvidenceStore | None

    def prepare(self, step: Step) -> Intent | Refusal:
        """Claim and observe the target. Returns the intent, settled if no call is needed.

        Raises StillChangingError where a rollback must wait for AWS.
        """
        claimed = self._claim(step)
        if isinstance(claimed, Refusal):
            return claimed
        fence, read = claimed
        now = self.clock()
        stage, outcome, error, cause = Stage.INTENT, None, None, None
        call = self._new_call(step)
        before: Mapping[str, Any] = {}
        try:
            with on_behalf_of(step.run_id):
                self._check_unchanged(step)
                # It is handed out once: to the step, not to what runs beside it.
                if read is None and step.action.claims:
                    read = self.recent_group(step.place, step.group)
                call = replace(call, params=dict(step.action.bind(call)), group=read)
                observation = step.action.observe(call)
            before = dict(observation.before)
            if observation.already:
                stage, outcome = Stage.SETTLED, Outcome.NOOP
        except (NotActionableError, MessengerError) as reason:
            changing = isinstance(reason, StillChangingError)
            if changing and step.reverses:
                raise
            stage, outcome, error = Stage.SETTLED, Outcome.FAILED, str(reason)
            passing = changing or self._is_just_prepared(step)
            cause = Cause.PASSING if passing else Cause.STATE
        return Intent(
            run_id=step.run_id,
            step=step.key,
            action=step.action.name,
            target=step.target,
            params=call.params,
            before=before,
            undoes=step.reverses.intent.step if step.reverses else None,
            fence=fence,
            stage=stage,
            outcome=outcome,
            error=error,
            cause=cause,
            result=ledger.first_result(step.key, outcome) if outcome else None,
            started_at=now,
            ended_at=self.clock() if outcome else None,
            **vars(step.place),
        )

    def _is_just_prepared(self, step: Step) -> bool:
        """Whether a step before this one was done so lately that AWS may not show it yet."""
        with self.ask() as connection:
            steps = ledger.intents_by_run(connection, [step.run_id]).get(step.run_id, ())
        return any(
            done.step.kind is StepKind.BEFORE
            and done.outcome is Outcome.CHANGED
            and self.clock() - (done.ended_at or 0.0) < step.action.shown_within_s
            for done in steps
        )

    def why_not_feasible(self, step: Step) -> Refusal | None:
        """Why AWS would not take the step now, by what its action reads; nothing is claimed."""
        call = self._new_call(step)
        try:
            with on_behalf_of(step.run_id):
                step.action.observe(replace(call, params=dict(step.action.bind(call))))
        except (NotActionableError, MessengerError) as reason:
            return rules.require_feasible(step.action.name, str(reason), known=True)
        except errors.AWS_ERRORS as error:
            failure = errors.classify(error)
            known = failure.refused and failure.cause is not Cause.PASSING
            return rules.require_feasible(step.action.name, failure.name, known=known)
        return None

    def _claim(self, step: Step) -> tuple[int, Group | None] | Refusal:
        """The claim's fence, and the group where it was read for the claim; or the refusal."""
        if step.escalates:
            # It is asked again in the transaction right before the call.
            with self.ask() as connection:
                return self.why_forbidden(connection, step) or (_NO_FENCE, None)
        if not step.action.claims:
            # It is asked in the transaction that records the step, right before the call.
            return _NO_FENCE, None
        scopes: Sequence[Scope] = ()
        group = None
        if step.action.removes_capacity and step.reverses is None:
            try:
                scopes, group = self._scopes(step)
            except LeftGroupError as error:
                return Refusal(Reason.NO_GROUP, str(error))
            except NotActionableError as error:
                return Refusal(Reason.STATE_UNKNOWN, str(error))
        # Nothing is sent before the dispatch is on disk, and with it the claim.
        with self.begin(synced=False) as connection:
            now = self.clock()
            refusal = self.forbids(connection, step)
            fence = refusal or claims.acquire(connection, step.claim_request(scopes), now)
            if isinstance(fence, Refusal):
                return fence
            log.append(connection, now, _claimed(step, fence))
        return fence, group

    def why_forbidden(self, connection: Connection, step: Step) -> Refusal | None:
        """Why a step that claims nothing may not be taken: a pause, or people's latest orders.

        Only a pause of everything stops an escalation.
        """
        if step.escalates:
            return rules.require_not_paused(paused=kill_switch.stops_everything(connection))
        paused = kill_switch.read_paused(connection, step.place)
        return rules.require_not_paused(paused=paused) or self.forbids(connection, step)

    def _scopes(self, step: Step) -> tuple[Sequence[Scope], Group | None]:
        """The scopes, and the group where it was read for them."""
        scopes = self.recent_scopes(step.place, step.target, step.group, step.bounds)
        if scopes is not None:
            return scopes, None
        aws, percent = self.aws_at(step.place), self.standalone_percent(step.place)
        with on_behalf_of(step.run_id):
            if not step.group:
                return read_scopes(aws, step.target, "", step.bounds, percent), None
            group = read_group(aws, step.group)
            return read_group_scopes(aws, step.target, group, step.bounds), group

    def _check_unchanged(self, step: Step) -> None:
        """Raises NotActionableError if a person has since changed what the step to reverse did."""
        reverses = step.reverses
        if reverses is None:
            return
        call = call_of(reverses.intent, self.aws_at(step.place), self.messenger)
        if not reverses.action.unchanged_since(call):
            raise NotActionableError(
                f"{step.target} was changed after {reverses.intent.action}: "
                "a rollback would overwrite that change"
            )

    def _new_call(self, step: Step) -> Call:
        return Call(
            aws=self.aws_at(step.place),
            messenger=self.messenger,
            target=step.target,
            params=step.params,
            token=step.token,
            min_healthy=0 if step.reverses else step.bounds.min_healthy or 0,
            reverses=step.reverses is not None,
            evidence=self.evidence,
        )


def _claimed(step: Step, fence: int) -> log.Event:
    detail = {"target": step.target, "action": step.action.name, "fence": fence}
    detail |= {name: value for name, value in vars(step.place).items() if value}
    return log.Event(actor="smartcloudops", event="claimed", run_id=step.run_id, detail=detail)
