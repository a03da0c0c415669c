"""What became of a step, and what follows: one table of AWS's answer and the metrics' answer.

Only a step that did not help leads to a heavier one.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from actions.aws.causes import REMEDIES, Cause
from actions.base import StepResult
from actions.execution.ledger import Intent
from actions.step_key import StepKey, StepKind

PERSON = "a person is needed"
# Pauses between the attempts of a step that AWS refuses for now: ten minutes in total.
_BACKOFF_S = (5.0, 10.0, 20.0, 45.0, 90.0, 180.0, 250.0)


class AwsAnswer(StrEnum):
    """What AWS says of a step: the outcome of its call, and the progress of its effect."""

    BUSY = "refused for now"  # throttled, away, or busy with another change
    REFUSED = "refused"
    NEVER_RAN = "not delivered, or cancelled"
    UNDER_WAY = "under way"
    DONE = "done"
    FAILED = "ran and failed"
    UNKNOWN = "unknown"


class Health(StrEnum):
    """What metrics say of the target, on samples that are newer than the step."""

    RECOVERED = "recovered"
    ILL = "still ill"
    WORSE = "worse"
    UNKNOWN = "cannot tell"


class Next(StrEnum):
    CLOSE = "close the run"
    WAIT = "wait"
    RETRY = "retry the step"
    NEXT_RUNG = "next rung"
    PERSON = "a person"


class Judgement(NamedTuple):
    result: StepResult
    next: Next


class _Row(NamedTuple):
    """The judgements until the time is up, and after it."""

    early: Judgement
    late: Judgement


_CLOSE = Judgement(StepResult.HELPED, Next.CLOSE)
_CLIMB = Judgement(StepResult.DID_NOT_HELP, Next.NEXT_RUNG)
_WAIT = Judgement(StepResult.UNDER_WAY, Next.WAIT)
_TOO_LONG = Judgement(StepResult.UNDER_WAY, Next.PERSON)
_RETRY = Judgement(StepResult.NEVER_RAN, Next.RETRY)
_REFUSED = Judgement(StepResult.NEVER_RAN, Next.PERSON)
_WATCH = Judgement(StepResult.UNKNOWN, Next.WAIT)
_UNKNOWN = Judgement(StepResult.UNKNOWN, Next.PERSON)


def _always(judgement: Judgement) -> _Row:
    return _Row(judgement, judgement)


# Without metrics: these answers of AWS decide alone.
_BY_AWS = {
    AwsAnswer.BUSY: _Row(_RETRY, _REFUSED),
    AwsAnswer.REFUSED: _always(_REFUSED),
    AwsAnswer.NEVER_RAN: _always(_REFUSED),
}
_BY_BOTH = {
    (AwsAnswer.UNDER_WAY, Health.RECOVERED): _Row(_WAIT, _TOO_LONG),
    (AwsAnswer.UNDER_WAY, Health.ILL): _Row(_WAIT, _TOO_LONG),
    (AwsAnswer.UNDER_WAY, Health.WORSE): _always(_TOO_LONG),
    (AwsAnswer.UNDER_WAY, Health.UNKNOWN): _Row(_WAIT, _TOO_LONG),
    (AwsAnswer.DONE, Health.RECOVERED): _always(_CLOSE),
    (AwsAnswer.DONE, Health.ILL): _Row(_WAIT, _CLIMB),
    (AwsAnswer.DONE, Health.WORSE): _always(_CLIMB),
    (AwsAnswer.DONE, Health.UNKNOWN): _Row(_WAIT, _UNKNOWN),
    (AwsAnswer.FAILED, Health.RECOVERED): _always(_CLOSE),
    (AwsAnswer.FAILED, Health.ILL): _always(_CLIMB),
    (AwsAnswer.FAILED, Health.WORSE): _always(_CLIMB),
    (AwsAnswer.FAILED, Health.UNKNOWN): _Row(_WAIT, _UNKNOWN),
    (AwsAnswer.UNKNOWN, Health.RECOVERED): _always(_CLOSE),
    (AwsAnswer.UNKNOWN, Health.ILL): _Row(_WATCH, _UNKNOWN),
    (AwsAnswer.UNKNOWN, Health.WORSE): _always(_UNKNOWN),
    (AwsAnswer.UNKNOWN, Health.UNKNOWN): _Row(_WATCH, _UNKNOWN),
}
# Every pair of answers.
TABLE = MappingProxyType(
    _BY_BOTH | {(aws, health): row for aws, row in _BY_AWS.items() for health in Health}
)


def judge(aws: AwsAnswer, health: Health, *, late: bool, held: bool = False) -> Judgement:
    """The result of a step, and what follows.

    `late`: its time, or its retries, are used up. `held`: the recovery has lasted long enough.
    """
    row = TABLE[aws, health]
    judgement = row.late if late else row.early
    return _WAIT if judgement is _CLOSE and not held else judgement


def judge_refused(step: Intent, *, late: bool) -> Judgement:
    """As `judge`, of a step whose call changed nothing."""
    aws = AwsAnswer.BUSY if step.cause is Cause.PASSING else AwsAnswer.REFUSED
    return judge(aws, Health.UNKNOWN, late=late)


def explain(step: Intent, aws: AwsAnswer, health: Health) -> str:
    """Why a step ends the ladder with a person."""
    match aws:
        case AwsAnswer.UNKNOWN:
            why = f"it is unknown whether {step.action} on {step.target} happened"
        case AwsAnswer.DONE | AwsAnswer.FAILED:
            why = f"it is unknown whether {step.action} helped: the metrics {health}"
        case _:
            why = f"{step.action} on {step.target} is {aws}, as AWS shows"
    return f"{why}; {PERSON}"


def explain_never_ran(step: Intent) -> str:
    """Why a call that changed nothing ends the ladder, and what a person does about it."""
    remedy = REMEDIES[step.cause or Cause.STATE]
    return f"{step.action} never ran: {step.error}; {PERSON}: {remedy}"


def retry_in_s(failed: Intent, recorded: Mapping[StepKey, Intent]) -> float | None:
    """Seconds until the run tries a step again that AWS refused for now; None after the last."""
    mark = (failed.action, failed.cause)
    tries = sum((step.action, step.cause) == mark for step in recorded.values())
    return _BACKOFF_S[tries - 1] if 0 < tries <= len(_BACKOFF_S) else None


def wait_on_s(recorded: Mapping[StepKey, Intent], now: float) -> float | None:
    """Seconds until the next try, if AWS refused the run's last step for now and is away since.

    None if the last step ran or was refused for good, or the time of its retries is over.
    """
    ladder = [step for key, step in recorded.items() if key.kind is StepKind.LADDER]
    last = max(ladder, key=lambda step: step.step.number, default=None)
    if last is None or last.result is not StepResult.NEVER_RAN or last.cause is not Cause.PASSING:
        return None
    tries = [step for step in ladder if (step.action, step.cause) == (last.action, last.cause)]
    pause_s = _BACKOFF_S[min(len(tries), len(_BACKOFF_S)) - 1]
    began = min(step.started_at for step in tries)
    return pause_s if now + pause_s < began + sum(_BACKOFF_S) else None


def has_run(recorded: Mapping[StepKey, Intent]) -> bool:
    """Whether a step of the ladder ran, or may have."""
    return any(
        key.kind is StepKind.LADDER and step.result is not StepResult.NEVER_RAN
        for key, step in recorded.items()
    )
