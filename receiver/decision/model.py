"""The input of a decision, and its possible results. None is unknown."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actions.aws.change_calendar import CalendarState
from actions.aws.group_activities import ActiveRefresh
from actions.aws.groups import Group
from actions.aws.host_status import HostStatus
from actions.aws.instances import Instance
from actions.base import TargetKind
from actions.canonical_json import canonical
from actions.execution.records import Attempts, Breaker, Claim, Scope, share
from actions.place import HOME, Place
from actions.reasons import Reason
from receiver.controls.records import ArmedMode, Change, Identity, Override
from receiver.decision.versions import SeenVersion
from receiver.evidence.dependencies.suspects import Suspect
from receiver.evidence.roles.exporter import Exporter
from receiver.evidence.roles.node_exporter import NODE_EXPORTER
from receiver.playbooks.schema import Playbook, Step, StormLimit
from receiver.runs.consequences import UNKNOWN, Consequences
from receiver.runs.model import Approval, ApprovalRule, GuardResult, RunRequest
from receiver.settings import Mode

# Refusals that no later decision on the same alert can lift.
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
class Trigger:
    """The trigger of the run: an alert, or a person's request.

    `malformed` has the faults of the alert's labels or times. `playbook_digest` names the playbook
    by which the run has taken a step.
    """

    run_id: str
    labels: Mapping[str, str]
    starts_at: float
    malformed: str | None
    request: RunRequest | None = None
    playbook_digest: str | None = None


@dataclass(frozen=True, kw_only=True)
class RecentAction:
    """A recent action of the service on the target or its group, which may have launched others."""

    run_id: str
    action: str
    target: str
    at: float
    launches: bool = True


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All facts that a decision reads, frozen; None is unknown. Times are epoch seconds.

    `target` is an instance id or a group's name, `group` the name of the group it belongs to, both
    at `place`, and `named_by` the label that names it.
    `rung` is the first remaining step of the ladder. `approvals` are those of the plan that waited.
    A destructive step needs `destructive_approvals` of them.

    From the service's own records: all current `overrides`, `attempts` by target, the mode that the
    playbook's `arming` allows, `recent_actions` on the target and its group, instances of the group
    that were `alerting` within the last minutes, `reserved` instances by scope, the versions of the
    group that were ever `seen` healthy, its processes that the run itself `lent`, and the lifecycle
    states to which it `moved` the target. `facts` are the playbook's own queries. From AWS:
    `instance`, `asg`, the `scopes` that count the target, the `changes` that others make (by what
    CloudTrail said `trail_age_s` ago) and the unfinished `refreshes` among them, whether the
    instance is `protected` from termination, what EC2 says of its `host`, and, where the target has
    no group, the ids of all opted-in instances that have none (`standalone`). In a storm,
    `failed_hosts` are the instances whose hosts have failed or will be retired. `unread` are the
    calls about the target that failed, each with AWS's code; `doubt` says why AWS does not have
    what the labels name.
    `suspects` are the target's dependencies that explain its trouble, and `cause_run` is the newest
    run about the first.
    `calendar` is the state of the playbook's change calendars, and `calendar_error` why it is
    unknown.
    `announced` is the newest change that somebody announced of the group or its place.
    `relapse_of` is the run whose recovery from the same alert did not last.
    `resolved`: a delivery reported the alert as resolved, at `resolved_at`. `fires`: Prometheus
    still fires such an alert.
    """

    place: Place = HOME
    mode: Mode
    place_mode: Mode = Mode.AUTO
    paused: bool | None
    resolved: bool | None
    resolved_at: float | None = None
    last_seen_at: float | None
    gap_s: float
    target: str | None
    selector: str = ""
    siblings: str = ""
    members_selector: str = ""
    host_label: str = "instance_id"
    exporter: Exporter = NODE_EXPORTER
    named_by: str = ""
    kind: TargetKind | None
    group: str | None
    claims: Mapping[str, Claim] | None
    calendar: CalendarState | None = None
    calendar_error: str = ""
    rung: int = 0
    approvals: Sequence[Approval] = ()
    destructive_approvals: int = 1
    overrides: Sequence[Override] | None = None
    attempts: Mapping[str, Attempts] | None = None
    breaker: Breaker | None = None
    arming: ArmedMode | None = None
    recent_actions: Sequence[RecentAction] | None = None
    alerting: frozenset[str] | None = None
    reserved: Mapping[str, frozenset[str]] | None = None
    seen: Sequence[SeenVersion] | None = None
    lent: frozenset[str] = frozenset()
    moved: frozenset[str] = frozenset()
    facts: Mapping[str, float] = field(default_factory=dict)
    instance: Instance | None = None
    asg: Group | None = None
    unread: Sequence[str] = ()
    doubt: str = ""
    scopes: Sequence[Scope] | None = None
    unread_health: Sequence[str] = ()
    changes: Sequence[str] | None = None
    trail_age_s: float = 0.0
    refreshes: Sequence[ActiveRefresh] | None = None
    protected: bool | None = None
    host: HostStatus | None = None
    volume_check: str | None = None
    failed_hosts: frozenset[str] | None = None
    standalone: frozenset[str] | None = None
    fires: bool = False
    relapse_of: str | None = None
    suspects: Sequence[Suspect] | None = ()
    cause_run: str = ""
    announced: Change | None = None

    @property
    def peers(self) -> frozenset[str] | None:
        """Ids of the group's members or, without a group, of the instances outside groups."""
        if self.group is None:
            return self.standalone
        return None if self.asg is None else frozenset(self.asg.members)

    @property
    def alerting_peers(self) -> frozenset[str] | None:
        """The alerting instances that AWS confirms."""
        peers = self.peers
        return None if peers is None or self.alerting is None else self.alerting & peers

    @property
    def is_next_failed_host(self) -> bool:
        """Whether the target's own host has failed, and no other run has one of its peers out."""
        if self.target not in (self.failed_hosts or ()) or self.reserved is None:
            return False
        out = frozenset[str]().union(*self.reserved.values()) & (self.peers or frozenset())
        return out <= {self.target}

    def is_silent(self, now: float) -> bool:
        """Whether the alert was not repeated for longer than Alertmanager's repeats allow."""
        return self.last_seen_at is not None and now - self.last_seen_at > self.gap_s

    def storm(self, limit: StormLimit) -> bool | None:
        """Whether so many peers alert that no step on a single one is allowed."""
        alerting, peers = self.alerting_peers, self.peers
        if alerting is None or peers is None:
            return None
        return len(alerting) >= max(limit.at_least, share(limit.share, len(peers)))


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The planned step.

    `instance_id` and `group` come from the alert, and are empty if it names none; `members` are the
    ids of the group's instances; `healthy_version` is empty where none was seen. Overrides match
    `identity`. `basis` has the facts about the target on which the plan rests; if they change, so
    does the plan.
    """

    playbook: Playbook
    rung: int
    step: Step
    place: Place = HOME
    target: str
    instance_id: str
    group: str
    selector: str
    siblings: str
    members_selector: str
    host_label: str
    healthy_version: str
    members: Sequence[str]
    identity: Identity
    basis: Mapping[str, Any]
    approvals: ApprovalRule
    consequences: Consequences = UNKNOWN
    exporter: Exporter = NODE_EXPORTER
    named_by: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of everything that a person approves."""
        approved = {
            "playbook": self.playbook.digest,
            "rung": self.rung,
            "target": self.target,
            "basis": dict(self.basis),
        }
        if self.place != HOME:
            approved |= vars(self.place)
        params = self.step.params
        if params != self.playbook.steps[self.rung].params:
            # The alert's labels chose among those that the playbook lists.
            approved["params"] = params
        return hashlib.sha256(canonical(approved).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Act:
    plan: Plan
    gates: Sequence[GuardResult]


@dataclass(frozen=True, kw_only=True)
class Ask:
    """The service would act once a person approves the plan."""

    plan: Plan
    gates: Sequence[GuardResult]


@dataclass(frozen=True, kw_only=True)
class Observe:
    """The service would have acted, if its mode allowed it."""

    plan: Plan
    gates: Sequence[GuardResult]


@dataclass(frozen=True, kw_only=True)
class Refuse:
    """Do nothing. From `retry_at` on, a repeat of the alert is decided again; None means never.

    `caused_by` is the run whose action caused the alert.
    """

    reason: Reason
    detail: str
    gates: Sequence[GuardResult]
    retry_at: float | None
    caused_by: str | None = None


Decision = Act | Ask | Observe | Refuse
