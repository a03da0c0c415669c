"""What the API answers, for its document; the routes send what `stories` tells."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from actions.audit.chain import ChainFault
from actions.base import Outcome
from actions.execution.ledger import Stage
from actions.reasons import Reason
from models.inference.verdict import Answer
from receiver.controls.overrides import Effect
from receiver.runs.model import State
from receiver.settings import Mode

_RUN = "01KAR0SZ1PCQSD8SGKXR6D7C9P"
_INSTANCE = "i-0a1b2c3d4e5f60718"
_WHEN = "2026-11-23T06:39:31.435Z"


def _id() -> Any:
    return Field(examples=[_RUN])


def _when() -> Any:
    return Field(examples=[_WHEN], json_schema_extra={"format": "date-time"})


class AlertStory(BaseModel):
    fingerprint: str = Field(examples=["d76ace51dbbb114a"])
    labels: dict[str, str] = Field(
        examples=[{"alertname": "HighCPU", "instance_id": _INSTANCE, "asg": "web-asg"}]
    )
    annotations: dict[str, str]
    starts_at: str = _when()


class VerdictStory(BaseModel):
    """The re-check: whether the target's own metrics show the fault."""

    answer: Answer
    score: float
    confidence: float | None
    model: str = Field(examples=["model-3f2a9c1b7d10"])
    kind: str | None = Field(default=None, examples=["runaway_process"])
    contributions: list[dict[str, Any]]


class GateStory(BaseModel):
    name: str = Field(examples=["verdict"])
    passed: bool
    detail: str


class StepStory(BaseModel):
    action: str = Field(examples=["reboot_instance"])
    target: str = Field(examples=[_INSTANCE])
    params: dict[str, Any]
    before: dict[str, Any]
    made: dict[str, Any]
    undoes: int | None
    stage: Stage
    outcome: Outcome | None
    error: str | None
    started_at: str = _when()
    dispatched_at: str | None = _when()
    ended_at: str | None = _when()


class ApprovalStory(BaseModel):
    """A person's yes, or no, to the plan with this digest."""

    digest: str
    by: str = Field(examples=["alice"])
    comment: str
    at: str = _when()
    denied: bool


class AskedStory(BaseModel):
    """Who asked for the run, where no alert did."""

    by: str = Field(examples=["alice"])
    role: str = Field(examples=["operator"])
    comment: str
    playbook: str = Field(examples=["high-cpu"])
    dry_run: bool


class MarkStory(BaseModel):
    """What a person said of the run afterwards."""

    right: bool
    by: str = Field(examples=["alice"])
    comment: str
    at: str = _when()


class RunStory(BaseModel):
    """A run; all but its evidence."""

    id: str = _id()
    state: State
    refusal: Reason | None
    outcome: str | None
    alert: AlertStory
    target: str | None = Field(examples=[_INSTANCE])
    group: str | None = Field(examples=["web-asg"])
    playbook: str | None = Field(examples=["high-cpu"])
    verdict: VerdictStory | None
    gates: list[GateStory]
    plan: dict[str, Any] | None
    approval: ApprovalStory | None
    asked: AskedStory | None
    mark: MarkStory | None
    caused_by: str | None = _id()
    steps: list[StepStory]
    received_at: str = _when()
    decided_at: str | None = _when()
    ended_at: str | None = _when()
    next_act_at: str | None = _when()


class WholeRun(RunStory):
    """`caused` are runs whose alerts this run's own acts brought about."""

    evidence: dict[str, Any] | None
    caused: list[str] = Field(examples=[[]])


class _Page(BaseModel):
    next_cursor: str | None = Field(examples=[None])


class RunPage(_Page):
    items: list[RunStory]


class SwitchStory(BaseModel):
    paused: bool
    comment: str = Field(examples=["deploying"])
    changed_by: str = Field(examples=["alice"])
    changed_at: str = _when()


class CooldownStory(BaseModel):
    """`held`: a run works on the target; else it may be acted on again at `until`."""

    target: str = Field(examples=[_INSTANCE])
    run: str = _id()
    held: bool
    until: str = _when()


class CooldownPage(_Page):
    items: list[CooldownStory]


class CooldownEnded(BaseModel):
    target: str = Field(examples=[_INSTANCE])


class Justification(BaseModel):
    """Of the runs that this very playbook planned a step for, since then; dry runs left out."""

    since: str | None = _when()
    planned: int
    observed: int
    acted: int
    recovered: int = Field(description="as metrics showed")
    failed: int = Field(description="or undone")
    denied: int = Field(description="by a person, who was asked")
    right: int = Field(description="as people marked them")
    wrong: int = Field(description="as people marked them")


class ArmingStory(BaseModel):
    """How far people let a playbook go; `observe` is disarmed. No `service`: all others.

    `since` is when it reached this mode, `at` when it was last changed. `despite` is what its
    record lacked, where somebody forced it.
    """

    service: str | None = Field(examples=["web-asg"])
    mode: Mode
    canary_percent: int
    by: str = Field(examples=["alice"])
    comment: str = Field(examples=["two weeks of right decisions"])
    at: str = _when()
    since: str = _when()
    changed: bool = Field(description="the playbook was changed since, so that it only observes")
    justification: Justification | None
    despite: list[str] = Field(examples=[[]])


class PlaybookStory(BaseModel):
    name: str = Field(examples=["high-cpu"])
    description: str
    match: list[str] = Field(examples=[['alertname="HighCPU"']])
    mode: Mode
    digest: str
    cooldown_s: float
    limits: dict[str, Any]
    undecided: dict[str, Any]
    steps: list[dict[str, Any]]
    rollback: bool
    breaker: dict[str, Any]
    goes: Mode = Field(description="how far it may go where no service says otherwise")
    armings: list[ArmingStory]


class PlaybookPage(_Page):
    items: list[PlaybookStory]


class MatcherStory(BaseModel):
    name: str = Field(examples=["asg"])
    value: str = Field(examples=["web-asg"])
    isRegex: bool  # noqa: N815 Alertmanager's name
    isEqual: bool  # noqa: N815 Alertmanager's name


class OverrideStory(BaseModel):
    id: str = _id()
    matchers: list[MatcherStory]
    effect: Effect
    starts_at: str = _when()
    ends_at: str = _when()
    created_by: str = Field(examples=["alice"])
    comment: str = Field(examples=["migration"])


class OverridePage(_Page):
    items: list[OverrideStory]


class OverrideEnded(BaseModel):
    id: str = _id()


class AuditStory(BaseModel):
    """A record; `hash` covers all of it and `previous`, the hash of the record before."""

    seq: int
    at: str = _when()
    actor: str = Field(examples=["alice"])
    event: str = Field(examples=["paused"])
    run_id: str | None = _id()
    detail: dict[str, Any]
    previous: str
    hash: str


class AuditPage(_Page):
    items: list[AuditStory]


class Drifted(BaseModel):
    """Population stability indices: from 0.25 a lot has changed; None is unknown."""

    features: float | None = Field(examples=[0.08])
    scores: float | None = Field(examples=[0.05])


class ModelStory(BaseModel):
    """`problem` says why there is no model; `card` is what was written when it was made."""

    version: str | None = Field(examples=["model-3f2a9c1b7d10"])
    problem: str | None
    shadow: str | None
    drift: Drifted
    card: dict[str, Any] | None


class Verified(BaseModel):
    """`first_bad` is the first record that does not hold, and `fault` what happened to it.

    Up to `anchored` a signed head speaks for the chain.
    """

    ok: bool
    records: int
    first_bad: int | None = Field(examples=[17])
    fault: ChainFault | None = Field(examples=["altered"])
    anchored: int | None = Field(examples=[16])


class FigureStory(BaseModel):
    """`value` is null where it is not known, and `reason` says why; `more` are its parts."""

    title: str = Field(examples=["Time from fault to action"])
    value: float | None = Field(examples=[12.5])
    unit: str = Field(examples=["s"])
    definition: str
    reason: str | None
    more: dict[str, Any]


class Report(BaseModel):
    """Decisions of people come with the number and hash of their audit record."""

    period: dict[str, str]
    figures: dict[str, FigureStory]
    incidents: dict[str, Any]
    actions: list[dict[str, Any]]
    approvals: list[dict[str, Any]]
    refusals: dict[str, int]
    rollbacks: list[dict[str, Any]]
    overrides: list[dict[str, Any]]
    audit: dict[str, Any]
    reconciliation: dict[str, Any] | None
    reconciliation_reason: str | None


class Alive(BaseModel):
    status: Literal["ok"]


class Ready(BaseModel):
    ready: bool
    checks: dict[str, str] = Field(examples=[{"database": "ok", "inbox": "ok", "assessor": "ok"}])
