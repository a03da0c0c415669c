"""A run, its states, and the records that it stores as JSON.

`receiver.runs.store` validates a record when it is read. A record may be older or newer than the
code: actions are names, and unknown keys are ignored.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from actions.execution.records import Bounds, Rates
from actions.place import Place
from actions.step_key import StepKey
from models.inference.verdict import Verdict
from receiver.runs.consequences import UNKNOWN, Consequences


class State(StrEnum):
    RECEIVED = "received"
    DECIDING = "deciding"
    AWAITING_APPROVAL = "awaiting_approval"
    ACTING = "acting"
    VERIFYING = "verifying"
    ROLLING_BACK = "rolling_back"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    REFUSED = "refused"
    OBSERVED = "observed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    RESOLVED = "resolved"

    @property
    def ended(self) -> bool:
        return self not in IN_FLIGHT


# Nobody has to be on the alert of such a run.
REMEDIED = frozenset({State.SUCCEEDED, State.RESOLVED, State.CANCELLED})


class Mark(StrEnum):
    """A person's feedback on an ended run."""

    RIGHT = "right"
    WRONG = "wrong"


IN_FLIGHT = frozenset(
    {
        State.RECEIVED,
        State.DECIDING,
        State.AWAITING_APPROVAL,
        State.ACTING,
        State.VERIFYING,
        State.ROLLING_BACK,
    }
)


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """A person's request to run a playbook on a target; a dry run only shows what would be done."""

    by: str
    role: str
    comment: str
    playbook: str
    target: str
    dry_run: bool
    person: str = ""
    account: str = ""
    region: str = ""


@dataclass(frozen=True, kw_only=True)
class GuardResult:
    """A guard's result, as recorded in the run's `gates`."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, kw_only=True)
class PlannedAction:
    """An action of the catalogue, with its params for this target."""

    action: str
    params: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class PlannedVerification:
    """The PromQL conditions of recovery and of getting worse, for this target.

    `scraped` is part of the default condition, that the alert is over; Alertmanager tells the rest
    where Prometheus does not. A recovery counts once the target is `loaded`, where that is asked.
    `boot_time` is the PromQL of when it booted. `selector` and `siblings` are the matchers of their
    series, `members` those of the group's at the decision; empty where there are none. `host_label`
    tells hosts apart.
    """

    expr: str
    worse: str | None
    for_s: float
    timeout_s: float
    loaded: str = ""
    scraped: str = ""
    selector: str = ""
    siblings: str = ""
    boot_time: str = ""
    members: str = ""
    host_label: str = "instance_id"


@dataclass(frozen=True, kw_only=True)
class ApprovalRule:
    """Who must approve a plan: this number of `people`, without the `excluded` ("requester").

    `source` names the rule that requires more than one person.
    """

    people: int = 1
    excluded: Sequence[str] = ()
    source: str = ""

    def __str__(self) -> str:
        people = "one person" if self.people == 1 else f"{self.people} people"
        rest = ", none of whom requested the run" if self.excluded else ""
        return f"{people}{rest}{f', by {self.source}' if self.source else ''}"

    def count(self, approvals: "Sequence[Approval]", request: RunRequest | None) -> int:
        """The number of different people whose approval counts."""
        people = {approval.person or approval.by for approval in approvals}
        return len(people - self._not_counted(request))

    def excludes(self, person: str, request: RunRequest | None) -> bool:
        return person in self._not_counted(request)

    def _not_counted(self, request: RunRequest | None) -> set[str]:
        if request is None or "requester" not in self.excluded:
            return set()
        return {request.person or request.by}


@dataclass(frozen=True, kw_only=True)
class StoredPlan:
    """A plan with all that its execution and verification need, even if playbooks change.

    `playbook_digest` covers the playbook, `digest` everything that a person approves. `basis` are
    the facts about the target on which the plan rests. Overrides match `identity`. No other run may
    hold one of `must_be_free`.
    """

    playbook: str
    playbook_digest: str
    digest: str
    rung: int
    action: str
    target: str
    group: str
    params: Mapping[str, Any]
    basis: Mapping[str, Any]
    identity: Mapping[str, Sequence[str]]
    before: Sequence[PlannedAction]
    must_be_free: Sequence[str]
    cooldown_s: float
    rates: Rates
    bounds: Bounds
    rollback: bool
    approval_s: float
    approvals: ApprovalRule = ApprovalRule()
    escalate: Sequence[PlannedAction]
    verify: PlannedVerification
    consequences: Consequences = UNKNOWN


@dataclass(frozen=True, kw_only=True)
class Approval:
    """A person's answer on the plan with this digest; `used` after the run has acted on it.

    `by` is the token's name, `person` the person who holds the token.
    """

    digest: str
    by: str
    comment: str
    at: float
    denied: bool
    used: bool = False
    person: str = ""


@dataclass(frozen=True, kw_only=True)
class FeedbackMark:
    """A person's feedback on the ended run."""

    right: bool
    by: str
    comment: str
    at: float


@dataclass(frozen=True, kw_only=True)
class Acknowledgement:
    """That a person is on what the run has not remedied, so that people are not told again."""

    by: str
    comment: str
    at: float


class Arm(StrEnum):
    """The two kinds of incidents that a playbook's hold-out compares."""

    HELD = "held"  # it waits first
    ACTED = "acted"


@dataclass(frozen=True, kw_only=True)
class HoldOutAssignment:
    """The arm of a run since `at` (epoch seconds), of a hold-out that waits `wait_s`.

    A recovery that does not last `relapse_s` is none.
    """

    arm: Arm
    at: float
    wait_s: float
    relapse_s: float


@dataclass(frozen=True, kw_only=True)
class Ending:
    """The end of a run, after the rollback of its steps `roll_back`, and after any escalation.

    `attempts` counts those of the rollback. A person must solve its `problems`; what is `owed` is
    given back after the end. `unreached` are the escalation steps that reached nobody.
    """

    state: State
    outcome: str
    refusal: str | None = None
    next_act_at: float | None = None
    roll_back: Sequence[StepKey]
    rolled_back: bool = False
    attempts: int = 0
    owed: Sequence[str] = ()
    escalate: bool
    problems: Sequence[str] = ()
    unreached: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Run:
    """A row of `runs`, without the columns that repeat parts of its records."""

    id: str
    state: State
    refusal: str | None
    outcome: str | None
    fingerprint: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    malformed: str | None
    starts_at: float
    received_at: float
    priority: int
    lane: str
    target: str | None
    group_name: str | None
    playbook: str | None
    plan: StoredPlan | None
    approval: Approval | None
    approvals: Sequence[Approval]
    ending: Ending | None
    caused_by: str | None
    relapsed_by: str | None
    verdict: Verdict | None
    gates: Sequence[GuardResult]
    evidence: Mapping[str, Any] | None
    steps_begun: int
    next_rung: int
    phase: str | None
    recovered_since: float | None
    verify_until: float | None
    decided_at: float | None
    next_act_at: float | None
    updated_at: float
    ended_at: float | None
    request: RunRequest | None
    mark: FeedbackMark | None
    account: str | None = None
    region: str | None = None
    acknowledged: Acknowledgement | None = None
    holdout: HoldOutAssignment | None = None

    @property
    def place(self) -> Place:
        """Where its target is. Raises LookupError before a decision has found it."""
        if self.account is None or self.region is None:
            raise LookupError(f"the account and region of run {self.id} are not known")
        return Place(self.account, self.region)

    @property
    def is_approved(self) -> bool:
        """Whether enough people approved the plan."""
        if self.plan is None:
            return False
        of_plan = [approval for approval in self.approvals if approval.digest == self.plan.digest]
        rule = self.plan.approvals
        return rule.count(of_plan, self.request) >= rule.people
