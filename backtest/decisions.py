"""A decision of a backtest, what became of it, and the facts that were assumed for it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from actions.aws.instances import INSTANCE_ID
from backtest.incidents import Incident
from receiver.runs.model import GuardResult, Run, State
from receiver.runtime.rfc3339 import rfc3339

ACT, ASK, OBSERVE, REFUSE = "act", "ask", "observe", "refuse"
# What each gate reads that no record tells of the past. Metrics are never assumed.
ASSUMED: Mapping[str, str] = {
    "target": "a name without an id is the instance that has it today, or one of no group",
    "paused": "nothing was paused, held or overridden",
    "arming": "every playbook was armed",
    "proven": "AWS confirmed the target, launched before, and its tag",
    "step": "no instance refresh ran, and all members had one version",
    "group": "the instance was in the group that its labels name",
    "change": "nobody else changed the target or its group, but for what CloudTrail told",
    "hardware": "EC2's status checks passed, and it announced nothing",
    "protected": "the instance was not protected from termination",
    "blast_radius": "the other members were in service, and the group's limits are today's",
    "claim": "AWS took the step",
}


@dataclass(frozen=True, kw_only=True)
class Decided:
    """One decision on an incident, at `at` (epoch seconds); `gates` as the run shows them.

    `disruptive`: the step takes its target out of service for a while, or for good.
    """

    incident: str
    at: float
    alertname: str
    target: str
    playbook: str
    decision: str
    reason: str
    action: str
    gates: Sequence[GuardResult]
    assumed: Sequence[str]
    disruptive: bool = False
    harm: Sequence[str] = ()

    @property
    def summary(self) -> str:
        """What counts when two decisions are compared."""
        return " ".join(filter(None, (self.decision, self.action or self.reason)))

    def as_json(self) -> dict[str, Any]:
        return {
            "incident": self.incident,
            "at": rfc3339(self.at),
            "alertname": self.alertname,
            "target": self.target or None,
            "playbook": self.playbook or None,
            "decision": self.decision,
            "reason": self.reason or None,
            "action": self.action or None,
            "gates": [vars(gate) for gate in self.gates],
            "assumed": list(self.assumed),
            "harm": list(self.harm),
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Self:
        """Of what `as_json` made. Raises KeyError, TypeError or ValueError."""
        return cls(
            incident=told["incident"],
            at=datetime.fromisoformat(told["at"]).timestamp(),
            alertname=told["alertname"],
            target=told["target"] or "",
            playbook=told["playbook"] or "",
            decision=told["decision"],
            reason=told["reason"] or "",
            action=told["action"] or "",
            gates=[GuardResult(**gate) for gate in told["gates"]],
            assumed=told["assumed"],
            harm=told["harm"],
        )


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a backtest found; `cost` is what it cost Prometheus.

    `people` are changes that people made meanwhile, by incident, `deploys` the seconds since the
    newest deploy of its group.
    """

    since: float
    until: float
    incidents: Sequence[Incident]
    decisions: Sequence[Decided]
    people: Mapping[str, Sequence[str]] = field(default_factory=dict)
    deploys: Mapping[str, float] = field(default_factory=dict)
    cost: Mapping[str, float] = field(default_factory=dict)
    trail: bool = False


def read_decision(incident: str, run: Run) -> Decided:
    """The newest decision on a run."""
    gates, plan = list(run.gates), run.plan
    last = gates[-1] if gates else None
    decision = REFUSE
    if last is not None and last.passed:
        decision = ACT
    elif run.state is State.AWAITING_APPROVAL:
        decision = ASK
    elif run.state is State.OBSERVED:
        decision = OBSERVE
    steps = decision != REFUSE and plan is not None
    refused = "" if decision != REFUSE else (run.refusal or (last.name if last else ""))
    return Decided(
        incident=incident,
        at=run.decided_at or run.updated_at,
        alertname=run.labels.get("alertname", ""),
        target=(plan.target if steps and plan else run.target) or "",
        playbook=run.playbook or "",
        decision=decision,
        reason=refused,
        action=plan.action if steps and plan else "",
        gates=gates,
        assumed=[*_assumed(gates, named=_names_id(run.labels))],
    )


def _names_id(labels: Mapping[str, str]) -> bool:
    return any(INSTANCE_ID.search(text) for text in labels.values())


def _assumed(gates: Sequence[GuardResult], *, named: bool) -> Iterator[str]:
    for gate in gates:
        if gate.name in ASSUMED and not (gate.name == "target" and named):
            yield ASSUMED[gate.name]


def differences(before: Sequence[Decided], after: Sequence[Decided]) -> Sequence[str]:
    """A line for each decision that differs: `INCIDENT NUMBER alert target: before -> after`."""
    old, new = _numbered(before), _numbered(after)
    lines = []
    for key in [*old, *(key for key in new if key not in old)]:
        was, now = old.get(key), new.get(key)
        told = [one.summary if one else "no decision" for one in (was, now)]
        named = was or now
        if told[0] != told[1] and named is not None:
            incident, number = key
            about = f"{incident} {number} {named.alertname} {named.target}".rstrip()
            lines.append(f"{about}: {told[0]} -> {told[1]}")
    return lines


def _numbered(decisions: Sequence[Decided]) -> Mapping[tuple[str, int], Decided]:
    """The decisions by incident and number, without repeats of the same refusal."""
    by_key: dict[tuple[str, int], Decided] = {}
    counts: dict[str, int] = {}
    last: dict[str, str] = {}
    for one in decisions:
        if last.get(one.incident) == one.summary and one.decision == REFUSE:
            continue
        last[one.incident] = one.summary
        counts[one.incident] = counts.get(one.incident, 0) + 1
        by_key[one.incident, counts[one.incident]] = one
    return by_key
