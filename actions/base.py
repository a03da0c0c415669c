"""The interface of an action, through which the executor and the guards use every action."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from actions.aws.client_set import Aws
from actions.aws.groups import Group
from actions.aws.waits import shown_within_s
from actions.evidence import EvidenceStore
from actions.messaging import Messenger


class TargetKind(StrEnum):
    """The target that an action needs. `any` takes the target of the alert."""

    INSTANCE = "instance"
    GROUP = "group"
    ANY = "any"


class Impact(StrEnum):
    """The harm that an action does to its target, least first."""

    HARMLESS = "harmless"  # nothing in AWS changes
    REVERSIBLE = "reversible"  # it can be rolled back, and nothing is lost
    DISRUPTIVE = "disruptive"  # out of service for a while; memory is lost
    DESTRUCTIVE = "destructive"  # something is lost for ever


class Outcome(StrEnum):
    CHANGED = "changed"
    NOOP = "noop"
    FAILED = "failed"
    UNKNOWN = "unknown"


class StepResult(StrEnum):
    """What became of a step of the ladder, by its outcome, AWS's progress and the metrics."""

    HELPED = "helped"  # the target recovered
    DID_NOT_HELP = "did_not_help"  # it ran to its end, and the target is still ill
    UNDER_WAY = "under_way"  # AWS is not done, or the metrics are still watched
    NEVER_RAN = "never_ran"  # it was refused, not delivered, or cancelled
    UNKNOWN = "unknown"  # it is unknown whether it ran, or whether it helped


class Progress(StrEnum):
    """The progress of an accepted call's effect, as AWS shows it."""

    UNDERWAY = "underway"
    DONE = "done"
    FAILED = "failed"  # it ran to an end that is not the wanted one
    NEVER_RAN = "never_ran"  # AWS did not deliver it, or it was cancelled before it began
    UNKNOWN = "unknown"  # it was cancelled after it began, or AWS cannot tell


class Params(BaseModel):
    """Base of an action's parameters; unknown keys and coerced types are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One step of a run, as its action sees it.

    `token` ("RUN/STEP", at most 64 ASCII characters) names this step for ever; it is sent as client
    token, comment or tag. At least `min_healthy` instances of a group must stay. `before` is what
    `observe` saw, `made` what `act` returned, and `seen` what `next_call` read for the call that
    follows at once. The step `reverses` another one, or not. `group_name` is the target's group at
    the decision, empty without one; `group` is the group itself if it was read less than a second
    ago, and `target_groups` are those that the last decision saw, or None. The run has `acted_on`
    these instances, and AWS may be `at_work` on some of them still. `evidence` keeps what is
    captured; None without an archive. Of a step to be rolled back: it was sent at `sent_at` (epoch
    seconds), and for `unrefused_s` no rollback of it was refused.
    """

    aws: Aws
    messenger: Messenger
    target: str
    params: Mapping[str, Any]
    token: str
    min_healthy: int = 0
    group_name: str = ""
    group: Group | None = None
    target_groups: Sequence[str] | None = None
    reverses: bool = False
    before: Mapping[str, Any] = field(default_factory=dict)
    made: Mapping[str, Any] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)
    acted_on: Sequence[str] = ()
    at_work: Sequence[str] = ()
    evidence: EvidenceStore | None = None
    sent_at: float = 0.0
    unrefused_s: float = 0.0


@dataclass(frozen=True)
class Observation:
    """The target before the call; `already`: the target is in the wanted state."""

    already: bool
    before: Mapping[str, Any]


@dataclass(frozen=True)
class CallResult:
    """The outcome of a call; `made` is what `act` returns."""

    outcome: Outcome
    made: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Undo:
    """The step that rolls a step back: an action of the catalogue and its params."""

    action: str
    params: Mapping[str, Any]


class Action(ABC):
    """One action. Its module's docstring explains it and shows a playbook step in YAML.

    - `claims`: it needs its target for itself; what changes nothing does not.
    - `removes_capacity`: the target serves nothing for a while, or for good.
    - `removes_members`: it may take any instance of the target, a group, out of service.
    - `instance_states`: the EC2 states in which it may find its instance, which must be a member of
    its group unless the action `takes_outsiders`.
    - `released_at_end`: it is rolled back when its run ends.
    - `stops_target`: once AWS has done it, the target serves nothing and has no metrics.
    - `moves_to`: the lifecycle states through which a member of a group goes because of it.
    - `stays_on_host`: it is meant to mend its target, and leaves it on the same host.
    - `needs_approval`: a person must approve each step in every mode.
    - `allowed_during_changes`: it may run while others change the target, because it ends or
    reports that change.
    - `idempotent`: two calls end in the same state as one, so a lost call may be repeated. Any
    other action uses a client that makes one attempt.
    - `undone_by` names the action that rolls it back.
    - `safeguard` is the action of the step that comes first, or follows at once, where
    `must_precede` or `must_follow` says so.
    - `takes_up_to_s`: AWS may take so long; `lasts_up_to_s` reads what AWS itself says, where it
    says it. `progress` ends the wait earlier where AWS `shows_end`; elsewhere only the metrics do.
    - `cancelled_with`: the permission with which `cancel` ends an effect that takes longer.
    - `cancelled_at_end`: it is cancelled, too, where its run ends before the last of its calls.

    Each method may raise NotActionableError, where the target does not exist or its state does not
    allow the action, and botocore's errors.
    """

    name: ClassVar[str]
    target: ClassVar[TargetKind]
    impact: ClassVar[Impact]
    claims: ClassVar[bool] = True
    removes_capacity: ClassVar[bool] = False
    removes_members: ClassVar[bool] = False
    instance_states: ClassVar[frozenset[str]] = frozenset({"running"})
    takes_outsiders: ClassVar[bool] = False
    released_at_end: ClassVar[bool] = False
    stops_target: ClassVar[bool] = False
    moves_to: ClassVar[frozenset[str]] = frozenset()
    stays_on_host: ClassVar[bool] = False
    needs_approval: ClassVar[bool] = False
    allowed_during_changes: ClassVar[bool] = False
    idempotent: ClassVar[bool]
    permissions: ClassVar[tuple[str, ...]]
    params: ClassVar[type[Params]] = Params
    undone_by: ClassVar[str | None] = None
    safeguard: ClassVar["Action | None"] = None
    takes_up_to_s: ClassVar[float] = 0.0
    shows_end: ClassVar[bool] = True
    cancelled_with: ClassVar[str] = ""
    cancelled_at_end: ClassVar[bool] = False

    @property
    def shown_within_s(self) -> float:
        """Seconds after its call within which AWS may not show yet what it did."""
        return shown_within_s(self.permissions)

    def bind(self, call: Call) -> Mapping[str, Any]:
        """Make parameters absolute, once, inside the claim: "+2" becomes a number."""
        return call.params

    @abstractmethod
    def observe(self, call: Call) -> Observation:
        """The target before the call. It only reads."""

    @abstractmethod
    def act(self, call: Call) -> Mapping[str, Any]:
        """Call AWS. Returns the ids of what the call created, as JSON values."""

    def has_written(self, made: Mapping[str, Any]) -> bool:
        """Whether a step that made this called an operation of AWS that writes."""
        del made
        return True

    @abstractmethod
    def read_back(self, call: Call) -> CallResult:
        """The outcome of a call whose answer was lost: changed, failed (no effect) or unknown."""

    def launches(self, params: Mapping[str, Any]) -> bool:
        """Whether its target, a group, may launch instances because of it."""
        del params
        return self.target is TargetKind.GROUP

    def progress(self, call: Call) -> Progress:
        """The progress of the call's effect. It only reads."""
        del call
        return Progress.DONE

    def next_call(self, call: Call) -> Mapping[str, Any] | None:
        """Where the step has several calls and the next is due: the `made` with which to `act`.

        If that call does not happen, the call before it stands, and is asked again.
        """
        del call
        return None

    def must_precede(self, call: Call) -> tuple[str, Mapping[str, Any]] | None:
        """The target and params of the `safeguard` without which the call would do harm."""
        del call
        return None

    def must_follow(self, call: Call) -> tuple[str, Mapping[str, Any]] | None:
        """The target and params of the `safeguard`, where AWS refused a part of the call."""
        del call
        return None

    def must_cancel(self, call: Call) -> bool:
        """Whether AWS shows that the effect will not come, so that it is to be cancelled.

        Once AWS was asked to: whether it shows that this was lost, so that it is asked again.
        """
        del call
        return False

    def lasts_up_to_s(self, call: Call) -> float:
        """Seconds from the call within which AWS ends its effect, by AWS's own settings."""
        del call
        return self.takes_up_to_s

    def can_cancel(self, call: Call) -> bool:
        """Whether `cancel` can end the effect of this call."""
        del call
        return bool(self.cancelled_with)

    def cancel(self, call: Call) -> None:
        """Ask AWS to end the effect of a call that takes too long."""
        raise NotImplementedError(call)

    def recovery_expr(self, boot_time: str, dispatched_at: float) -> str | None:
        """PromQL that is 1 once the call has taken effect, 0 before; None where AWS shows that.

        `boot_time` is the PromQL of when the target booted, in epoch seconds.
        """
        del boot_time, dispatched_at
        return None

    def undo(self, call: Call) -> Undo | None:
        """The step that rolls the call back, or None. It reads nothing.

        Raises TooEarlyError if that has to wait.
        """
        del call
        return None

    def unchanged_since(self, call: Call) -> bool:
        """Whether the target is as the call left it: no rollback overwrites a person's change.

        Of what is `released_at_end`: whether any of it is still to be given back.
        """
        del call
        return False
