"""The schema of a playbook: the alerts it matches, its mode, limits, steps and verification."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from actions.base import Impact
from actions.canonical_json import canonical
from actions.catalog.registry import CATALOG
from actions.catalog.ssm.capture import Capture, capture_wait_s
from actions.execution.records import Bounds, Rates
from receiver.playbooks.field_types import (
    ActionName,
    AlertMatcher,
    ChosenParameters,
    HarmlessAction,
    Parameters,
    Percent,
    Promql,
    Seconds,
    TemporaryAction,
    When,
)
from receiver.playbooks.time_intervals import Calendar, ChangeCalendars
from receiver.settings import Mode

# Raise it when a default of playbooks changes; every armed playbook must then be armed again.
EDITION = 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Verify(_Part):
    """A PromQL condition (`x < bool 0.85`) that must hold for `for`, within `timeout`.

    If `worse` holds, the run takes the next step at once. With `under_load: 50%` an instance must
    have that share of its siblings' mean traffic meanwhile.
    """

    expr: Promql
    worse: Promql | None = None
    for_s: Annotated[Seconds, Field(alias="for")] = 15.0
    timeout_s: Annotated[Seconds, Field(alias="timeout")] = 180.0
    under_load: Percent | None = None

    def content(self) -> Mapping[str, Any]:
        """What the digest covers: a new key changes no digest until it is set."""
        new = {"under_load"} if self.under_load is None else set[str]()
        return self.model_dump(exclude=new)


class BeforeStep(_Part):
    """A capture, or a temporary action that is rolled back when the run ends; before a step."""

    action: TemporaryAction
    params: Parameters = Field(default_factory=dict)


class Approvals(_Part):
    """The number of different `people` who must approve a step in every mode.

    With `not: [requester]` the person who requested a manual run does not count.
    """

    people: Annotated[int, Field(ge=1, le=5)] = 1
    excluded: Annotated[list[Literal["requester"]], Field(alias="not", max_length=1)] = Field(
        default_factory=list
    )


class Step(_Part):
    """A rung of the ladder: the first remaining step whose `when` holds is taken.

    `ask`: a person must approve it in every mode. The actions of `before` run right before it, and
    are rolled back when the run ends. `verify` replaces the playbook's own. A param may be chosen
    by a label of the alert, from a closed list: `{from: name, one_of: [nginx, app]}`.
    """

    action: ActionName
    params: ChosenParameters = Field(default_factory=dict)
    when: When | None = None
    ask: bool = False
    approvals: Approvals | None = None
    before: Annotated[list[BeforeStep], Field(max_length=3)] = Field(default_factory=list)
    verify: Verify | None = None

    @property
    def preparation(self) -> list[BeforeStep]:
        """`before`, and the capture of what a disruptive or destructive step may destroy."""
        wait_s = capture_wait_s(CATALOG[self.action])
        if wait_s is None or any(before.action == Capture.name for before in self.before):
            return self.before
        return [*self.before, BeforeStep(action=Capture.name, params={"wait_s": wait_s})]


class EscalationStep(_Part):
    """A step that only notifies people, after the last rung of the ladder failed to help."""

    action: HarmlessAction
    params: Parameters = Field(default_factory=dict)


class Undecided(_Part):
    """The consequence of an undecided verdict, by the impact of the step."""

    reversible: Literal["refuse", "ask", "act"] = "refuse"
    destructive: Literal["refuse", "ask"] = "refuse"

    def of(self, impact: Impact) -> str:
        reversible = impact in {Impact.HARMLESS, Impact.REVERSIBLE}
        return self.reversible if reversible else self.destructive


class StormLimit(_Part):
    """From this share and this number of alerting instances on, there is a storm.

    draino once cordoned most of a fleet that matched one rule:
    https://github.com/planetlabs/draino/issues/89
    """

    share: Percent = 20.0
    at_least: Annotated[int, Field(ge=2)] = 3


class Limits(_Part):
    """Upper limits. `blast_radius` is a share of a group, but at least one instance.

    If an alert comes again within `relapse` after its recovery, the recovery did not last.
    """

    target_per_hour: Annotated[int, Field(ge=1)] = 3
    target_per_day: Annotated[int, Field(ge=1)] = 7
    group_per_hour: Annotated[int, Field(ge=1)] = 10
    playbook_per_hour: Annotated[int, Field(ge=1)] = 30
    blast_radius: Percent = 10.0
    min_healthy: Annotated[int, Field(ge=0)] | None = None
    storm: StormLimit = StormLimit()
    relapse_s: Annotated[Seconds, Field(alias="relapse", le=86_400)] = 1_800.0

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


_Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_WEEKDAYS: tuple[_Weekday, ...] = get_args(_Weekday)
_Time = Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]


class Window(_Part):
    """The hours, in UTC, in which a run may begin; `end_time` is later on the same day."""

    weekdays: Annotated[list[_Weekday], Field(min_length=1)] = list(_WEEKDAYS)
    start_time: _Time
    end_time: _Time

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.start_time >= self.end_time:
            raise ValueError("end_time must be later on the same day than start_time")
        return self

    def __str__(self) -> str:
        return f"the window from {self.start_time} to {self.end_time} UTC"

    def opens_at(self, now: float) -> float:
        """When it is next open, in epoch seconds: `now` where it is open."""
        today = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        for day in (today + timedelta(days=days) for days in range(8)):
            opens, closes = (
                (day + timedelta(hours=int(text[:2]), minutes=int(text[3:]))).timestamp()
                for text in (self.start_time, self.end_time)
            )
            if _WEEKDAYS[day.weekday()] in self.weekdays and now < closes:
                return max(now, opens)
        raise LookupError("unreachable: a week has each weekday")


class HoldOut(_Part):
    """A `share` of the confirmed, light incidents waits first, to tell whether acting helps.

    Never where a person waits, never critical, only on the first step in `auto`.
    """

    share: Annotated[Percent, Field(gt=0, le=50)] = 10.0
    wait_s: Annotated[Seconds, Field(alias="wait", ge=60, le=3_600)] = 600.0


class Playbook(_Part):
    """A playbook; `recheck` are PromQL conditions that replace the model's verdict.

    `standalone`: steps may take out instances that no Auto Scaling group would replace.

    `window`: its runs begin only then, but those that a person requests; some hours in
    UTC, Alertmanager's `time_intervals`, or `change_calendars` of AWS Systems Manager.

    `ignores_dependencies`: it acts although what the target depends on is the cause.

    `facts` are PromQL values for conditions: `facts["spare"] > 2`.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
    description: str = ""
    match: Annotated[list[AlertMatcher], Field(min_length=1)]
    mode: Mode = Mode.OBSERVE
    cooldown_s: Annotated[Seconds, Field(alias="cooldown")] = 300.0
    approval_s: Annotated[Seconds, Field(alias="approval", ge=60)] = 1_800.0
    recheck: Annotated[list[Promql], Field(max_length=10)] = Field(default_factory=list)
    facts: Annotated[
        dict[Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")], Promql],
        Field(max_length=10),
    ] = Field(default_factory=dict)
    window: Window | Calendar | ChangeCalendars | None = None
    undecided: Undecided = Undecided()
    limits: Limits = Limits()
    steps: Annotated[list[Step], Field(min_length=1, max_length=10)]
    verify: Verify | None = None
    rollback: bool = False
    standalone: bool = False
    ignores_dependencies: bool = False
    holdout: HoldOut | None = None
    escalate: Annotated[list[EscalationStep], Field(max_length=5)] = Field(default_factory=list)

    @property
    def actions(self) -> set[str]:
        """Names of all actions that the playbook may execute."""
        before = {before.action for step in self.steps for before in step.preparation}
        escalate = {escalation.action for escalation in self.escalate}
        return {step.action for step in self.steps} | before | escalate

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the playbook's content, independent of its layout.

        Defaults are left out, so that a release with new keys changes no digest; a release that
        changes a default raises `EDITION`, which changes all digests. A capture that is added by
        default is content: who arms the playbook arms it, too.
        """
        content = self.model_dump(mode="python", exclude={"match", "steps"}, exclude_defaults=True)
        content["edition"] = EDITION
        content["match"] = [str(matcher) for matcher in self.match]
        content["steps"] = [
            {
                "action": step.action,
                "params": step.params,
                "when": str(step.when or ""),
                "ask": step.ask,
                "before": [before.model_dump() for before in step.preparation],
                "verify": step.verify.content() if step.verify else None,
                **({"approvals": step.approvals.model_dump()} if step.approvals else {}),
            }
            for step in self.steps
        ]
        return hashlib.sha256(canonical(content).encode()).hexdigest()

    @property
    def alertname(self) -> str | None:
        """The only alert name that it matches, or None."""
        by_name = (matcher for matcher in self.match if matcher.name == "alertname")
        exact = (matcher for matcher in by_name if matcher.is_equal and not matcher.is_regex)
        return next((matcher.value for matcher in exact), None)

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(matcher.matches(labels) for matcher in self.match)
