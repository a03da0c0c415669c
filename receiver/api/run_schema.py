"""A run in the requests and answers of the API."""

from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from actions.base import Outcome, StepResult
from actions.execution.ledger import Stage
from actions.reasons import Reason
from models.inference.verdict import Answer
from receiver.api.params import (
    INSTANCE,
    Account,
    AccountField,
    Cursor,
    Id,
    Limit,
    Name,
    Page,
    Region,
    RegionField,
    Text,
    Time,
)
from receiver.runs.model import State


class Start(BaseModel):
    """A manual run; `target` is an instance id or the name of an Auto Scaling group."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "playbook": "high-cpu",
                    "target": "i-0a1b2c3d4e5f60718",
                    "comment": "the customer reports a hang",
                    "dry_run": True,
                }
            ]
        },
    )

    playbook: Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f]+$", max_length=128)]
    target: Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f]+$", max_length=255)]
    comment: Text
    dry_run: bool = False
    account: Account | None = None
    region: Region | None = None


class AlertView(BaseModel):
    fingerprint: str = Field(examples=["d76ace51dbbb114a"])
    labels: dict[str, str] = Field(
        examples=[{"alertname": "HighCPU", "instance_id": INSTANCE, "asg": "web-asg"}]
    )
    annotations: dict[str, str]
    starts_at: Time


class VerdictView(BaseModel):
    """Whether the target's metrics confirm the alert."""

    answer: Answer
    score: float
    unusual: float | None = Field(default=None, examples=[4.2])
    confidence: float | None
    model: str = Field(examples=["model-3f2a9c1b7d10"])
    kind: str | None = Field(default=None, examples=["runaway_process"])
    contributions: list[dict[str, Any]]


class GateView(BaseModel):
    name: str = Field(examples=["verdict"])
    passed: bool
    detail: str


class StepView(BaseModel):
    action: str = Field(examples=["reboot_instance"])
    target: str = Field(examples=[INSTANCE])
    params: dict[str, Any]
    before: dict[str, Any]
    made: dict[str, Any]
    undoes: int | None
    stage: Stage
    outcome: Outcome | None
    result: StepResult | None
    error: str | None
    started_at: Time
    dispatched_at: Time | None
    ended_at: Time | None


class CapturedObject(BaseModel):
    name: str = Field(examples=["01K9ZZZZZZZZZZZZZZZZZZZZZZ-50000-aws.json"])
    sha256: str
    bytes: int


class CaptureView(BaseModel):
    """What AWS and the host showed of a target before a step."""

    target: str = Field(examples=[INSTANCE])
    at: Time
    objects: list[CapturedObject]
    missing: dict[str, str] = Field(description="why a part is not among the objects")
    error: str | None


class ApprovalView(BaseModel):
    """A person's approval or denial of the plan with this digest."""

    digest: str
    by: str = Field(examples=["alice"])
    comment: str
    at: Time
    person: str = Field(examples=["alice"], description="whose token it is")
    denied: bool
    used: bool = Field(description="the run has acted on it")


class AskedView(BaseModel):
    """Who started the run by hand."""

    by: str = Field(examples=["alice"])
    role: str = Field(examples=["operator"])
    comment: str
    playbook: str = Field(examples=["high-cpu"])
    target: str = Field(examples=[INSTANCE])
    dry_run: bool
    person: str = Field(examples=["alice"], description="whose token it is")
    account: str
    region: str


class AcknowledgementView(BaseModel):
    by: str = Field(examples=["alice"])
    comment: str
    at: Time


class MarkView(BaseModel):
    """A person's feedback on the ended run."""

    right: bool
    by: str = Field(examples=["alice"])
    comment: str
    at: Time


class RunView(BaseModel):
    """A run without its evidence."""

    id: Id
    state: State
    refusal: Reason | None
    outcome: str | None
    alert: AlertView
    target: str | None = Field(examples=[INSTANCE])
    group: str | None = Field(examples=["web-asg"])
    account: AccountField
    region: RegionField
    playbook: str | None = Field(examples=["high-cpu"])
    verdict: VerdictView | None
    gates: list[GateView]
    plan: dict[str, Any] | None
    question: str | None = Field(description="what a person is asked, with its consequences")
    approval: ApprovalView | None
    approvals: list[ApprovalView] = Field(
        description="approvals of the waiting or executed plan, one for each person"
    )
    asked: AskedView | None
    mark: MarkView | None
    acknowledged: AcknowledgementView | None = Field(description="a person is on it")
    caused_by: Id | None
    relapsed_by: Id | None = Field(description="the run that shows that the recovery did not last")
    steps: list[StepView]
    captures: list[CaptureView]
    received_at: Time
    decided_at: Time | None
    ended_at: Time | None
    next_act_at: Time | None
    waits_until: Time | None = Field(
        description="while a step is verified: when its time is up, AWS's own delays included"
    )


class WholeRun(RunView):
    """A run in full; `caused` are runs whose alerts this run's own steps caused."""

    evidence: dict[str, Any] | None
    caused: list[str] = Field(examples=[[]])


class CommandedRun(WholeRun):
    """A run after a command; `answer` says what was approved, denied, cancelled or rolled back."""

    answer: str = Field(examples=["approved reboot_instance on i-0a1b2c3d4e5f60718"])


class RunPage(Page):
    items: list[RunView]


class RunQuery(BaseModel):
    """The filters of a list of runs.

    `q` has words, or parts of them, that all are found in the run's id, its alert's labels, its
    target, group and playbook, the reason of its refusal, or the people who had to do with it.
    `target` matches the alert's target and the steps' targets.
    """

    state: State | None = None
    playbook: Name | None = None
    target: Name | None = None
    account: Account | None = None
    region: Region | None = None
    q: Name | None = None
    group: Name | None = None
    alertname: Name | None = None
    severity: Name | None = None
    refusal: Reason | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    limit: Limit = 100
    cursor: Cursor | None = None
