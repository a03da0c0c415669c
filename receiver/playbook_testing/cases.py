"""The YAML of a playbook's tests: the input of each test, and the decision that it expects.

Input that a test leaves out has the values of a day without incidents.
"""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from actions.reasons import Reason
from models.inference.parameters import FaultKind
from models.inference.verdict import Answer
from receiver.controls.records import Effect
from receiver.playbook_testing.series import expand
from receiver.settings import Mode


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _expands(text: str) -> str:
    expand(text, step_s=15, end=0)
    return text


class VerdictInput(_Part):
    """The verdict of the re-check."""

    answer: Answer = Answer.CONFIRMED
    score: float = 0.9
    confidence: float | None = 0.9
    kind: FaultKind | None = None
    surging: bool | None = False
    peers: int | None = 5
    peers_moved: int | None = 0


Expansion = dict[str, Annotated[str, AfterValidator(_expands)]]


class SeriesInput(_Part):
    """Metrics by role (see docs/model.md), in promtool's notation, up to the alert.

    `recent` has a sample every 15 s, `history` every 5 minutes, and `peers` every 30 s, equal for
    each peer.
    """

    recent: Expansion
    history: Expansion = Field(default_factory=dict)
    peers: Expansion = Field(default_factory=dict)


class Fleet(_Part):
    """The group as AWS shows it: `size` members in three zones, the alert's instance first.

    `out` members do not serve; `alerting` members, the alert's instance included, have an alert.
    `versions` and `zones` list the launch-template versions and the zones of the members in order.
    `healthy` lists the versions that the service saw healthy, the last one at the end; `refresh` is
    as in conditions. The checks are EC2's status checks, and `event` is the code of a scheduled
    event of the host. `known` is false where AWS does not answer.
    """

    size: Annotated[int, Field(ge=1, le=100)] = 6
    desired: int | None = None
    min: int = 2
    max: int = 12
    out: int = 0
    alerting: int = 1
    versions: list[str] = Field(default_factory=list)
    zones: list[str] = Field(default_factory=list)
    healthy: list[str] = Field(default_factory=list)
    refresh: Literal["none", "reversible", "irreversible"] = "none"
    state: str = "running"
    launched_ago_s: float = 86_400.0
    opted_in: bool = True
    protected: bool = False
    system_check: str = "ok"
    ebs_check: str = "ok"
    volume_check: str = "ok"
    event: str = ""
    event_in_s: float = 86_400.0
    changes: list[str] = Field(default_factory=list)
    known: bool = True


class RecordsInput(_Part):
    """The service's records: the seconds left of a cooldown, and the attempts of the last hour.

    `time` is the time of day of a Friday, in UTC; `calendar` is the state of the change calendars.
    """

    mode: Mode = Mode.AUTO
    paused: bool = False
    resolved: bool = False
    override: Effect | None = None
    rung: int = 0
    cooldown_s: float = 0.0
    held: bool = False
    attempts: int = 0
    failures: int = 0
    time: Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] | None = None
    calendar: Literal["open", "closed"] = "open"


class Expected(_Part):
    """The decision and its parts; a part that is left out is not compared."""

    decision: Literal["act", "ask", "observe", "refuse"]
    action: str | None = None
    target: str | None = None
    params: dict[str, Any] | None = None
    refusal: Reason | None = None


class TestCase(_Part):
    """One test; with `series` the model gives the verdict, otherwise it is `verdict`."""

    name: str
    alert: dict[str, str]
    verdict: VerdictInput = VerdictInput()
    series: SeriesInput | None = None
    facts: dict[str, float] = Field(default_factory=dict)
    fleet: Fleet = Fleet()
    given: RecordsInput = RecordsInput()
    expect: Expected


class TestFile(_Part):
    tests: Annotated[list[TestCase], Field(min_length=1)]
