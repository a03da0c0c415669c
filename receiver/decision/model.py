"""What a decision rests on, and what it can be. None is unknown."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actions.audit.log import canonical
from actions.aws.inventory import Group, Instance
from actions.base import TargetKind
from actions.execution.circuit_breakers import Breaker
from actions.execution.claims import Claim
from actions.execution.disruption_budget import Scope
from actions.execution.rate_limits import Attempts
from actions.reasons import Reason
from receiver.controls.arming import Armed
from receiver.controls.overrides import Override
from receiver.playbooks.schema import Playbook, Step
from receiver.settings import Mode

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
class Asked:
    """A person wants it, without an alert; a dry run is only to show what would be done."""

    by: str
    dry_run: bool


@dataclass(frozen=True, kw_only=True)
class Subject:
    """The alert that is decided on, or what a person asks for in its place."""

    run_id: str
    labels: Mapping[str, str]
    starts_at: float
    odd: str | None
    asked: Asked | None = None


@dataclass(frozen=True, kw_only=True)
class Approval:
    """A person's yes to one very plan, by its digest."""

    digest: str
    by: str


@dataclass(frozen=True, kw_only=True)
class PastAct:
    """What we did to the target or its group a short while ago."""

    run_id: str
    action: str
    target: str
    at: float


@dataclass(frozen=True, kw_only=True)
class Situation:
    """A snapshot of all that bears on the decision; None is unknown.

    `target` is an instance id or a group's name, `group` the name of the group it belongs to.
    `rung` is the first step of the ladder that may still be taken. Times are epoch seconds.

    From our own records: `overrides` that hold for the alert now, `attempts` by target, how far the
    playbook's `arming` lets it go, `acts` of ours of late, `alerting` instances of the group within
    the last minutes, `reserved` instances by scope. From AWS: `instance`, `asg`, `scopes` that the
    target is counted in, `changes` that others make, and whether the instance is `protected` from
    termination.
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
    rung: int = 0
    approval: Approval | None = None
    overrides: Sequence[Override] | None = None
    attempts: Mapping[str, Attempts] | None = None
    breaker: Breaker | None = None
    arming: Armed | None = None
    acts: Sequence[PastAct] | None = None
    alerting: frozenset[str] | None = None
    reserved: Mapping[str, frozenset[str]] | None = None
    facts: Mapping[str, float] = field(default_factory=dict)
    instance: Instance | None = None
    asg: Group | None = None
    scopes: Sequence[Scope] | None = None
    changes: Sequence[str] | None = None
    protected: bool | None = None


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
    `members` are the ids of the group's instances. `basis` is what it was made for: where that
    changes, it is another plan.
    """

    playbook: Playbook
    rung: int
    step: Step
    target: str
    instance_id: str
    group: str
    members: Sequence[str]
    basis: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 of all that a person approves."""
        said = {
            "playbook": self.playbook.digest,
            "rung": self.rung,
            "target": self.target,
            "basis": dict(self.basis),
        }
        return hashlib.sha256(canonical(said).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Act:
    plan: Plan
    gates: Sequence[Gate]


@dataclass(frozen=True, kw_only=True)
class Ask:
    """It would act, once a person has approved the plan."""

    plan: Plan
    gates: Sequence[Gate]


@dataclass(frozen=True, kw_only=True)
class Observe:
    """It would have acted, were it allowed to."""

    plan: Plan
    gates: Sequence[Gate]


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """`retry_at`: when a repeat of the alert is worth another look; None for never.

    `caused_by` is the run whose own act brought the alert about.
    """

    reason: Reason
    detail: str
    gates: Sequence[Gate]
    retry_at: float | None
    caused_by: str | None = None


Decision = Act | Ask | Observe | Refusal
