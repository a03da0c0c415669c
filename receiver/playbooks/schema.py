"""What a playbook can say: which alerts, how far, the ladder of steps, and how to look after it."""

import difflib
import hashlib
import re
import string
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

from actions.audit.log import canonical
from actions.base import Impact
from actions.catalog.registry import CATALOG
from actions.execution.disruption_budget import Bounds
from actions.execution.rate_limits import Rates
from receiver.playbooks.conditions import Condition, condition
from receiver.playbooks.matchers import Matcher, parse
from receiver.settings import Mode

_DURATION = re.compile(r"(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9})s)?")
_PERCENT = re.compile(r"(\d{1,2}|100)%")
# What a query, a parameter or a message may be given, and what stands in for it while a playbook
# is checked; never the text of a label.
EXAMPLES = {
    "instance_id": "i-0123456789abcdef0",
    "asg": "web-asg",
    "run_id": "0" * 26,
    "playbook": "playbook",
}


def _seconds(value: object) -> object:
    """Prometheus' durations ("90s", "5m", "1h30m") in seconds."""
    if not isinstance(value, str):
        return value
    found = _DURATION.fullmatch(value)
    if not value or found is None:
        raise ValueError(f"{value!r} is no duration such as 90s, 5m or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(hours * 3600 + minutes * 60 + seconds)


def _percent(value: object) -> object:
    found = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("write a percentage, such as 10%")
    return float(found.group(1))


def _matcher(value: object) -> object:
    return parse(value) if isinstance(value, str) else value


def _condition(value: object) -> object:
    return condition(value) if isinstance(value, str) else value


def _action(value: object) -> object:
    if isinstance(value, str) and value not in CATALOG:
        near = difflib.get_close_matches(value, CATALOG, 1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(CATALOG)}"
        raise ValueError(f"unknown action {value!r}{hint}")
    return value


def _harmless(value: str) -> str:
    if CATALOG[value].impact is not Impact.HARMLESS:
        calm = ", ".join(name for name in CATALOG if CATALOG[name].impact is Impact.HARMLESS)
        raise ValueError(f"{value} does not only tell people; there are: {calm}")
    return value


def _leased(value: str) -> str:
    if not CATALOG[value].released_at_end:
        lent = ", ".join(name for name in CATALOG if CATALOG[name].released_at_end)
        raise ValueError(f"{value} is not undone when a run ends; there are: {lent}")
    return value


def _templates(value: object) -> object:
    """Texts with placeholders, at any depth: only the known ones."""
    if isinstance(value, str):
        named = set(string.Template(value).get_identifiers())
        if named - EXAMPLES.keys() or not string.Template(value).is_valid():
            known = ", ".join(f"${name}" for name in sorted(EXAMPLES))
            raise ValueError(f"only these are filled in: {known}; write $$ for a dollar sign")
    elif isinstance(value, Mapping):
        for one in value.values():
            _templates(one)
    elif isinstance(value, list):
        for one in value:
            _templates(one)
    return value


def filled(value: object, values: Mapping[str, str]) -> Any:
    """The value with its placeholders filled in, at any depth."""
    if isinstance(value, str):
        return string.Template(value).substitute(values)
    if isinstance(value, Mapping):
        return {key: filled(one, values) for key, one in value.items()}
    if isinstance(value, list):
        return [filled(one, values) for one in value]
    return value


# Raised where a default of playbooks changes: what was armed under another one is armed anew.
EDITION = 1
# Longer is a slip of the pen, and no moment that far ahead can be written down.
_LONGEST_S = 31 * 86_400.0
Seconds = Annotated[
    float, BeforeValidator(_seconds, json_schema_input_type=str), Field(ge=0, le=_LONGEST_S)
]
Percent = Annotated[
    float, BeforeValidator(_percent, json_schema_input_type=str), Field(ge=1, le=100)
]
Promql = Annotated[str, BeforeValidator(_templates), StringConstraints(min_length=1)]
When = Annotated[Condition, BeforeValidator(_condition, json_schema_input_type=str)]
ActionName = Annotated[str, BeforeValidator(_action)]
Parameters = Annotated[dict[str, Any], BeforeValidator(_templates)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Verify(_Part):
    """A PromQL condition (`x < bool 0.85`) that must hold for `for`, within `timeout`.

    Where `worse` holds, the next step is not waited for.
    """

    expr: Promql
    worse: Promql | None = None
    for_s: Annotated[Seconds, Field(alias="for")] = 15.0
    timeout_s: Annotated[Seconds, Field(alias="timeout")] = 180.0


class Preparing(_Part):
    """What is done right before a step, and undone when the run ends."""

    action: Annotated[ActionName, AfterValidator(_leased)]
    params: Parameters = Field(default_factory=dict)


class Step(_Part):
    """One rung of the ladder: taken where `when` holds, and nothing before it was.

    `ask`: a person must approve it, whatever the mode. `before` is done right before it, and undone
    when the run ends. `verify` stands in for the playbook's own.
    """

    action: ActionName
    params: Parameters = Field(default_factory=dict)
    when: When | None = None
    ask: bool = False
    before: Annotated[list[Preparing], Field(max_length=3)] = Field(default_factory=list)
    verify: Verify | None = None


class Telling(_Part):
    """A step that only tells people, once the ladder is at its end and nothing helped."""

    action: Annotated[ActionName, AfterValidator(_harmless)]
    params: Parameters = Field(default_factory=dict)


class Undecided(_Part):
    """What to do where the re-check cannot tell, by what a step costs."""

    reversible: Literal["refuse", "ask", "act"] = "refuse"
    destructive: Literal["refuse", "ask"] = "refuse"

    def of(self, impact: Impact) -> str:
        calm = impact in {Impact.HARMLESS, Impact.REVERSIBLE}
        return self.reversible if calm else self.destructive


class Limits(_Part):
    """The most that may be done. `blast_radius` is a share of a group, and at least one of it."""

    target_per_hour: Annotated[int, Field(ge=1)] = 3
    target_per_day: Annotated[int, Field(ge=1)] = 7
    group_per_hour: Annotated[int, Field(ge=1)] = 10
    playbook_per_hour: Annotated[int, Field(ge=1)] = 30
    blast_radius: Percent = 10.0
    min_healthy: Annotated[int, Field(ge=0)] | None = None

    @property
    def rates(self) -> Rates:
        return Rates(
            target_per_hour=self.target_per_hour,
            target_per_day=self.target_per_day,
            group_per_hour=self.group_per_hour,
            playbook_per_hour=self.playbook_per_hour,
        )

    @property
    def bounds(self) -> Bounds:
        return Bounds(percent=self.blast_radius, min_healthy=self.min_healthy)


class Playbook(_Part):
    """`recheck` are PromQL conditions that stand in for the model where it has no say.

    `facts` are PromQL values for conditions: `facts["spare"] > 2`.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
    description: str = ""
    match: Annotated[
        list[Annotated[Matcher, BeforeValidator(_matcher, json_schema_input_type=str)]],
        Field(min_length=1),
    ]
    mode: Mode = Mode.OBSERVE
    cooldown_s: Annotated[Seconds, Field(alias="cooldown")] = 300.0
    approval_s: Annotated[Seconds, Field(alias="approval", ge=60)] = 1_800.0
    recheck: Annotated[list[Promql], Field(max_length=10)] = Field(default_factory=list)
    facts: Annotated[
        dict[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")], Promql],
        Field(max_length=10),
    ] = Field(default_factory=dict)
    undecided: Undecided = Undecided()
    limits: Limits = Limits()
    steps: Annotated[list[Step], Field(min_length=1, max_length=10)]
    verify: Verify | None = None
    rollback: bool = False
    escalate: Annotated[list[Telling], Field(max_length=5)] = Field(default_factory=list)

    @property
    def actions(self) -> set[str]:
        """Names of all that it may do."""
        before = {one.action for step in self.steps for one in step.before}
        steps = {one.action for one in self.steps}
        return steps | before | {one.action for one in self.escalate}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what the playbook says, whatever its layout.

        Without the defaults, so that a release that knows more keys changes no playbook; one that
        changes what a default means does, by `EDITION`.
        """
        said = self.model_dump(mode="python", exclude={"match", "steps"}, exclude_defaults=True)
        said["edition"] = EDITION
        said["match"] = [str(matcher) for matcher in self.match]
        said["steps"] = [
            {
                "action": step.action,
                "params": step.params,
                "when": str(step.when or ""),
                "ask": step.ask,
                "before": [one.model_dump() for one in step.before],
                "verify": step.verify.model_dump() if step.verify else None,
            }
            for step in self.steps
        ]
        return hashlib.sha256(canonical(said).encode()).hexdigest()

    @property
    def alertname(self) -> str | None:
        """The one that it takes, where a matcher names it."""
        named = (one for one in self.match if one.name == "alertname")
        return next((one.value for one in named if one.is_equal and not one.is_regex), None)

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(matcher.matches(labels) for matcher in self.match)
