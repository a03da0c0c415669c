"""Verifies whether a run's target has recovered: by AWS's progress, then by metrics."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import structlog

from actions.aws.client_set import on_behalf_of
from actions.aws.errors import AWS_ERRORS
from actions.aws.target_errors import NotActionableError
from actions.base import Outcome, Progress
from actions.catalog.registry import find_action
from actions.execution import ledger
from actions.execution.executor import Executor
from actions.execution.ledger import Intent
from actions.messaging import MessengerError
from actions.place import Place
from receiver.evidence.prometheus.client import Prometheus
from receiver.runs.model import Run
from receiver.workflow.health import HealthReader
from receiver.workflow.step_results import AwsAnswer, Health
from receiver.workflow.steps import plan_of, step_of

_log = structlog.get_logger()
# A command's agent, and a refresh, end what they are doing first.
_ENDS_WITHIN_S = 600.0
_ANSWERS = {
    Progress.UNDERWAY: AwsAnswer.UNDER_WAY,
    Progress.DONE: AwsAnswer.DONE,
    Progress.FAILED: AwsAnswer.FAILED,
    Progress.NEVER_RAN: AwsAnswer.NEVER_RAN,
    Progress.UNKNOWN: AwsAnswer.UNKNOWN,
}


@dataclass(frozen=True, kw_only=True)
class Look:
    """What AWS and the metrics say of a step. A recovery must last for `hold_s`.

    `until` is when the step's time is up, and `late` whether it is.
    """

    aws: AwsAnswer
    health: Health
    hold_s: float
    until: float
    late: bool


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Verifies a run's last step; `alert_fires` as `HealthReader`."""

    executor: Executor
    prometheus: Prometheus
    members: Callable[[Place, str, str], str]
    alert_fires: Callable[[Mapping[str, str], float], bool | None] = lambda _, __: None

    @cached_property
    def _reader(self) -> HealthReader:
        return HealthReader(
            prometheus=self.prometheus, members=self.members, alert_fires=self.alert_fires
        )

    def look(self, run: Run, step: Intent, now: float) -> Look:
        """Ask AWS and the metrics about the step, and end a step that takes too long."""
        aws = self._ask_aws(run, step)
        until = self._deadline(run, step, aws, now)
        reading = self._reader.read(run, step, self._done_at(run, step, aws, until), now)
        waits = reading.health is Health.UNKNOWN and now <= reading.ready_at
        if aws is not AwsAnswer.UNDER_WAY and not find_action(step.action).shows_end:
            # Its effect may have come as late as that, and only the metrics tell.
            waits = now <= until + reading.needs_s
        late = now > until and (aws is AwsAnswer.UNDER_WAY or not waits)
        late = late and not _may_be_shown(step, now)
        health = reading.health
        if late and aws is AwsAnswer.DONE and find_action(step.action).stops_target:
            # No newer metrics come of it: AWS shows that it does not serve.
            health = Health.ILL if health is Health.UNKNOWN else health
        elif (
            (late or aws is AwsAnswer.FAILED)
            and health is Health.ILL
            and not self._reader.proves(run, now)
        ):
            health = Health.UNKNOWN
        return Look(aws=aws, health=health, hold_s=reading.hold_s, until=until, late=late)

    def advance(self, run: Run, step: Intent) -> Intent:
        """Settle a lost call, and let a step of several calls make the next one when it is due."""
        step = self.executor.settle_lost(step_of(run), step)
        try:
            return self.executor.advance(step_of(run), step)
        except (*AWS_ERRORS, NotActionableError) as error:
            _log.warning("next_call_not_made", run=run.id, error=type(error).__name__)
            return step

    def first_deadline(self, run: Run, step: Intent, now: float) -> float:
        """When a step's time is up, if AWS takes all of its own time."""
        action, timeout_s = find_action(step.action), plan_of(run).verify.timeout_s
        if step.dispatched_at is None:
            return now + timeout_s
        if not action.shows_end:
            return now + max(timeout_s, action.takes_up_to_s)
        try:
            with on_behalf_of(run.id):
                lasts_s = action.lasts_up_to_s(self.executor.call(step))
        except (*AWS_ERRORS, NotActionableError) as error:
            _log.warning("aws_time_read_failed", run=run.id, error=type(error).__name__)
            lasts_s = action.takes_up_to_s
        return step.dispatched_at + lasts_s + timeout_s

    def _deadline(self, run: Run, step: Intent, aws: AwsAnswer, now: float) -> float:
        """When the step's time is up; the playbook's timeout begins once AWS is done."""
        until = run.verify_until or 0.0
        if aws is AwsAnswer.UNDER_WAY:
            return until if now <= until else self._cancel(run, step, until)
        shown = find_action(step.action).shows_end
        return min(until, now + plan_of(run).verify.timeout_s) if shown else until

    def _cancel(self, run: Run, step: Intent, until: float) -> float:
        """Cancel a step that takes too long. Returns until when it must have ended.

        A step that the run rolls back is not cancelled: its rollback ends it.
        """
        if plan_of(run).rollback and find_action(step.action).undone_by:
            return until
        try:
            step = self.executor.cancel(step_of(run), step)
        except (*AWS_ERRORS, NotActionableError) as error:
            _log.warning("step_cancel_failed", run=run.id, error=type(error).__name__)
        return until if step.cancelled_at is None else step.cancelled_at + _ENDS_WITHIN_S

    def _done_at(self, run: Run, step: Intent, aws: AwsAnswer, until: float) -> float:
        """Since when metrics may show the effect: since AWS was first seen to be done."""
        began = step.dispatched_at or step.started_at
        shown = find_action(step.action).shows_end and aws is not AwsAnswer.UNDER_WAY
        return max(began, until - plan_of(run).verify.timeout_s) if shown else began

    def _ask_aws(self, run: Run, step: Intent) -> AwsAnswer:
        """AWS's answer about the step's effect; under way if AWS does not answer now."""
        try:
            with on_behalf_of(run.id):
                progress = find_action(step.action).progress(self.executor.call(step))
        except NotActionableError as error:
            # What the step changed has gone, or somebody changed it again.
            _log.warning("progress_read_failed", run=run.id, error=str(error))
            return AwsAnswer.UNKNOWN
        except (*AWS_ERRORS, MessengerError) as error:
            _log.warning("progress_read_failed", run=run.id, error=type(error).__name__)
            progress = Progress.UNDERWAY
        # The progress of a call that may not have happened proves nothing.
        return AwsAnswer.UNKNOWN if step.outcome is Outcome.UNKNOWN else _ANSWERS[progress]


def _may_be_shown(step: Intent, now: float) -> bool:
    """Whether AWS may show yet that a call without an answer happened, or that it did not."""
    unknown, within_s = step.outcome is Outcome.UNKNOWN, find_action(step.action).shown_within_s
    return unknown and not ledger.is_shown(step, within_s, now)
