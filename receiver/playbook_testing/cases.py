"""What a test of a playbook gives and expects, as it stands in its YAML.

Everything that a test leaves out is as on a quiet day.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from actions.reasons import Reason
from models.inference.parameters import FaultKind
from models.inference.verdict import Answer
from receiver.controls.overrides import Effect
from receiver.playbook_testing.series import series
from receiver.settings import Mode


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _expands(text: str) -> str:
    series(text, step_s=15, end=0)
    return text


class GivenVerdict(_Part):
    """What the re-check says."""

    answer: Answer = Answer.CONFIRMED
    score: float = 0.9
    confidence: float | None = 0.9
    kind: FaultKind | None = None
    surging: bool | None = False
    peers: int | None = 5
    peers_moved: int | None = 0


Expansion = dict[str, Annotated[str, AfterValidator(_expands)]]


class GivenSeries(_Part):
    """Metrics by role (see docs/model.md), in promtool's notation, up to the alert.

    `recent` each 15 s, `history` each 5 minutes, `peers` each 30 s, the same for each sibling.
    """

    recent: Expansion
    history: Expansion = Field(default_factory=dict)
    peers: Expansion = Field(default_factory=dict)


class Fleet(_Part):
    """The group as AWS shows it: `size` members in three zones, the alert's instance first.

    `out` of them do not serve, `alerting` of them have an alert (the alert's own included).
    `versions` and `zones` name the launch-template version and zone of each, in order.
    """

    size: Annotated[int, Field(ge=1, le=100)] = 6
    desired: int | None = None
    min: int = 2
    max: int = 12
    out: int = 0
    alerting: int = 1
    versions: list[str] = Field(default_factory=list)
    zones: list[str] = Field(default_factory=list)
    state: str = "running"
    launched_ago_s: float = 86_400.0
    opted_in: bool = True
    protected: bool = False
    changes: list[str] = Field(default_factory=list)
    known: bool = True


class Given(_Part):
    """Our own records: what is left of the target's cooldown, and attempts of the last hour."""

    mode: Mode = Mode.AUTO
    paused: bool = False
    resolved: bool = False
    override: Effect | None = None
    rung: int = 0
    cooldown_s: float = 0.0
    held: bool = False
    attempts: int = 0
    failures: int = 0


class Expected(_Part):
    """`decision` and what belongs to it; what is left out is not looked at."""

    decision: Literal["act", "ask", "observe", "refuse"]
    action: str | None = None
    target: str | None = None
    params: dict[str, Any] | None = None
    refusal: Reason | None = None


class Case(_Part):
    """With `series` the verdict is the model's own, otherwise the one that is given."""

    name: str
    alert: dict[str, str]
    verdict: GivenVerdict = GivenVerdict()
    series: GivenSeries | None = None
    facts: dict[str, float] = Field(default_factory=dict)
    fleet: Fleet = Fleet()
    given: Given = Given()
    expect: Expected


class Cases(_Part):
    tests: Annotated[list[Case], Field(min_length=1)]
