"""What a decision rests on, and what it can be. None is unknown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from actions.action import TargetKind
from actions.claims import Claim
from actions.fleet import Group, Instance
from receiver.playbooks import Playbook, Step
from receiver.settings import Mode


class Reason(StrEnum):
    """Why nothing is done; each has its paragraph in docs/refusals.md."""

    MALFORMED_ALERT = "malformed_alert"
    NO_PLAYBOOK = "no_playbook"
    AMBIGUOUS_PLAYBOOK = "ambiguous_playbook"
    NO_TARGET = "no_target"
    PAUSED = "paused"
    RESOLVED = "resolved"
    STALE = "stale"
    TARGET_BUSY = "target_busy"
    COOLDOWN = "cooldown"
    STATE_UNKNOWN = "state_unknown"
    TARGET_UNPROVEN = "target_unproven"
    VERDICT_REFUTED = "verdict_refuted"
    VERDICT_UNDECIDED = "verdict_undecided"
    CONDITION_UNKNOWN = "condition_unknown"
    NO_STEP = "no_step"
    INTERNAL_ERROR = "internal_error"


# What no passing of time changes while the alert stays what it is.
LASTING = frozenset(
    {
        Reason.MALFORMED_ALERT,
        Reason.NO_PLAYBOOK,
        Reason.AMBIGUOUS_PLAYBOOK,
        Reason.NO_TARGET,
        Reason.RESOLVED,
    }
)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The alert that is decided on."""

    run_id: str
    labels: Mapping[str, str]
    starts_at: float
    odd: str | None


@dataclass(frozen=True, kw_only=True)
class Situation:
    """A snapshot of all that bears on the decision; None is unknown.

    `target` is an instance id or a group's name, `group` the name of the group it belongs to.
    `instance` and `asg` are what AWS says of them. `rung` is the first step of the ladder that
    may still be taken. Times are epoch seconds.
    """

    mode: Mode
    paused: bool | None
    resolved: bool | None
    last_seen_at: float | None
    gap_s: float
    target: str | None
    kind: TargetKind | None
    group: str | None
    claims: Mapping[str, Claim] | None
    instance: Instance | None = None
    asg: Group | None = None
    rung: int = 0


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One guard's answer, as the run's story shows it."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The one step that would be taken.

    `instance_id` and `group` are what the alert is about, empty where it is about none;
    `members` are the ids of the group's instances.
    """

    playbook: Playbook
    rung: int
    step: Step
    target: str
    instance_id: str
    group: str
    members: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Act:
    plan: Plan
    gates: Sequence[Gate]


@dataclass(frozen=True, kw_only=True)
class Observe:
    """It would have acted, were it allowed to."""

    plan: Plan
    gates: Sequence[Gate]


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """`retry_at`: when a repeat of the alert is worth another look; None for never."""

    reason: Reason
    detail: str
    gates: Sequence[Gate]
    retry_at: float | None


Decision = Act | Observe | Refusal
