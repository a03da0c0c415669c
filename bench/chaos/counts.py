"""Counts of what must not happen, in AWS's own log of calls and in the records of runs."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from bench.chaos.forgeries import FORGED

# A tenth of a group, but at least one member, may be out at once: one of six.
_OUT_AT_MOST = 1
_HOUR_S = 3600.0
# The cooldown starts at the claim, and a step is recorded at most this long after it.
_ON_RECORD_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Caps:
    """The maximum of actions in any hour, and the minimum seconds between two on a target."""

    target: int
    group: int
    playbook: int
    cooldown_s: float


def is_forged(run: Mapping[str, Any]) -> bool:
    return str(run["alert"]["labels"].get("n", "")).startswith(FORGED)


def count_astray(runs: Sequence[Mapping[str, Any]], calls: Sequence[Mapping[str, Any]]) -> int:
    """Count the actions on a host that no real alert named."""
    named = {run["id"]: run["alert"]["labels"]["instance_id"] for run in runs if not is_forged(run)}
    return sum(call["parameters"]["InstanceIds"] != [named.get(call["session"])] for call in calls)


def count_doubled(runs: Sequence[Mapping[str, Any]], calls: Sequence[Mapping[str, Any]]) -> int:
    """Count the actions beyond the first of a run, and the runs beyond the first of an alert."""
    by_run = Counter(call["session"] for call in calls)
    by_alert = Counter(run["alert"]["labels"]["n"] for run in runs if "n" in run["alert"]["labels"])
    return sum(count - 1 for counts in (by_run, by_alert) for count in counts.values())


def count_suspended(calls: Iterable[Mapping[str, Any]]) -> int:
    """Count the groups whose processes are suspended in the end, by AWS' own log.

    A call without an answer (status 0) may have happened: a resumption is believed, and a
    suspension would be among the debts.
    """
    suspended: defaultdict[str, set[str]] = defaultdict(set)
    for call in calls:
        match call["operation"], call["status"]:
            case "SuspendProcesses", 200:
                group = suspended[call["parameters"]["AutoScalingGroupName"]]
                group |= set(call["parameters"]["ScalingProcesses"])
            case "ResumeProcesses", 0 | 200:
                group = suspended[call["parameters"]["AutoScalingGroupName"]]
                group -= set(call["parameters"]["ScalingProcesses"])
    return sum(bool(processes) for processes in suspended.values())


def count_in_cooldown(runs: Sequence[Mapping[str, Any]], cooldown_s: float) -> int:
    """Count the actions on a target within its cooldown; steps on its group only prepare one."""
    times: defaultdict[str, list[float]] = defaultdict(list)
    for run in runs:
        for step in run["steps"]:
            if step["outcome"] != "failed" and step["target"] == run["target"]:
                begun = datetime.fromisoformat(step["started_at"]).timestamp()
                times[run["target"]].append(begun)
    return sum(
        later - earlier < cooldown_s - _ON_RECORD_S
        for acts in times.values()
        for earlier, later in pairwise(sorted(acts))
    )


def count_over_caps(
    calls: Sequence[Mapping[str, Any]], fleet: Sequence[Mapping[str, Any]], caps: Caps
) -> int:
    """Count the actions in AWS' own log beyond the caps for any hour."""
    groups = {instance["instance_id"]: instance["asg"] for instance in fleet}
    times: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for call in calls:
        target = call["parameters"]["InstanceIds"][0]
        for cap in (("target", target), ("group", groups[target]), ("playbook", "")):
            times[cap].append(call["time"])
    return sum(
        sum(at - _HOUR_S < earlier <= at for earlier in acts) > getattr(caps, kind)
        for (kind, _), acts in times.items()
        for at in acts
    )


def count_together(runs: Sequence[Mapping[str, Any]]) -> int:
    """Count the moments at which more members of a group were out than allowed."""
    spans: defaultdict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
    for run in runs:
        begun = [step for step in run["steps"] if step["outcome"] != "failed"]
        if begun and run["ended_at"]:
            start = datetime.fromisoformat(begun[0]["started_at"])
            spans[run["group"]].append((start, datetime.fromisoformat(run["ended_at"])))
    exceeded = 0
    for of_group in spans.values():
        for start, _ in of_group:
            exceeded += sum(begin <= start < end for begin, end in of_group) > _OUT_AT_MOST
    return exceeded
