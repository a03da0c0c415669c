"""The report of `make chaos`: compares AWS's log of calls with the records."""

import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from actions.assurance.reconcile import FindingKind
from actions.base import Outcome
from bench.chaos.cluster import Cluster
from bench.chaos.forgeries import FORGED
from bench.chaos.monitoring import Deliveries
from demo.stack.processes import without_aws

_REBOOT = "RebootInstances"
_ROGUE = "ROGUE"
# With fewer actions than this in a round nothing is proved about actions.
_ACTED_PER_ROUND = 1
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


@dataclass(frozen=True, kw_only=True)
class ChaosReport:
    """The counts of `make chaos`; `availability` and `taken` are shares in [0, 1].

    `availability` is the share of Alertmanager's deliveries that were answered 2xx at the first
    try; `taken` also counts those that were answered 2xx after retries. `planted_found`: the
    reconciliation finds the call that was added to the log and the call that was removed from it,
    and no other. `astray`: actions on a host other than that of a real alert. `doubled`: actions
    beyond the first of a run, and runs beyond the first of an alert. `owed`: what is lent at the
    end, by the records and by AWS's own log. `forgeries` were delivered; they are not among the
    alerts, but lost, too, without a run.
    """

    rounds: int
    alerts_acked: int
    lost: int
    unexplained: int
    acted: int
    doubled: int
    astray: int
    caps_exceeded: int
    owed: int
    audit_mismatches: int
    planted_found: bool
    audit_holds: bool
    availability: float | None
    taken: float | None
    deliveries: int
    disasters: Mapping[str, int]
    forgeries: Mapping[str, int]
    states: Mapping[str, int]
    forged_states: Mapping[str, int]

    @property
    def sound(self) -> bool:
        wrong = self.lost + self.unexplained + self.doubled + self.astray + self.caps_exceeded
        verified = self.planted_found and self.audit_holds
        proved = self.acted >= _ACTED_PER_ROUND * self.rounds
        return not wrong + self.owed + self.audit_mismatches and verified and proved


@dataclass(frozen=True, kw_only=True)
class ChaosFacts:
    """The input of the report: alerts sent, limits, deliveries, disasters and forgeries."""

    sent: AbstractSet[str]
    caps: Caps
    deliveries: Deliveries
    rounds: int
    disasters: Mapping[str, int]
    forgeries: Mapping[str, int]


def evaluate(
    cluster: Cluster, runs: Sequence[Mapping[str, Any]], facts: ChaosFacts, folder: Path
) -> ChaosReport:
    """Compare the alerts that were sent with the runs, and all calls with the records."""
    of_chaos = [run for run in runs if "n" in run["alert"]["labels"]]
    acked = {run["alert"]["labels"]["n"] for run in of_chaos}
    calls = [call for call in cluster.calls(_REBOOT) if call["status"] in (0, 200)]
    forged = [run for run in of_chaos if is_forged(run)]
    log = cluster.http.get(f"{cluster.aws}/_sim/calls").text.splitlines()
    deliveries = facts.deliveries
    return ChaosReport(
        rounds=facts.rounds,
        alerts_acked=len({run["alert"]["labels"]["n"] for run in of_chaos if not is_forged(run)}),
        lost=len(facts.sent - acked),
        unexplained=sum(not run["ended_at"] or not _explained(run) for run in of_chaos),
        acted=len(calls),
        doubled=count_doubled(runs, calls),
        astray=count_astray(runs, calls),
        caps_exceeded=count_together(runs)
        + count_over_caps(calls, cluster.fleet(), facts.caps)
        + count_in_cooldown(runs, facts.caps.cooldown_s),
        owed=len(cluster.replicas[0].debts()) + count_suspended(map(json.loads, log)),
        audit_mismatches=len(_reconcile(cluster, folder, log)),
        planted_found=_planted_found(cluster, folder, log, of_chaos),
        audit_holds=_command(cluster, "audit", "verify").returncode == 0,
        availability=deliveries.share_without(deliveries.tried_again + deliveries.given_up),
        taken=deliveries.share_without(deliveries.given_up),
        deliveries=deliveries.total,
        disasters=dict(facts.disasters),
        forgeries=dict(facts.forgeries),
        states=_states([run for run in of_chaos if not is_forged(run)]),
        forged_states=_states(forged),
    )


def _states(runs: Sequence[Mapping[str, Any]]) -> Mapping[str, int]:
    return dict(Counter(run["refusal"] or run["state"] for run in runs))


def is_forged(run: Mapping[str, Any]) -> bool:
    return str(run["alert"]["labels"].get("n", "")).startswith(FORGED)


def count_doubled(runs: Sequence[Mapping[str, Any]], calls: Sequence[Mapping[str, Any]]) -> int:
    """Count the actions beyond the first of a run, and the runs beyond the first of an alert."""
    by_run = Counter(call["session"] for call in calls)
    by_alert = Counter(run["alert"]["labels"]["n"] for run in runs if "n" in run["alert"]["labels"])
    return sum(count - 1 for counts in (by_run, by_alert) for count in counts.values())


def count_astray(runs: Sequence[Mapping[str, Any]], calls: Sequence[Mapping[str, Any]]) -> int:
    """Count the actions on a host that no real alert named."""
    named = {run["id"]: run["alert"]["labels"]["instance_id"] for run in runs if not is_forged(run)}
    return sum(call["parameters"]["InstanceIds"] != [named.get(call["session"])] for call in calls)


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


def _explained(run: Mapping[str, Any]) -> bool:
    return bool(run["refusal"] or run["outcome"] or run["steps"])


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


def _reconcile(cluster: Cluster, folder: Path, lines: Sequence[str]) -> list[dict[str, Any]]:
    """Calls without a record and records without a call, as `audit reconcile` finds them."""
    log = folder / "calls.jsonl"
    log.write_text("\n".join(lines))
    process = _command(
        cluster, "audit", "reconcile", "--since", "24h", "--events", str(log), "--json"
    )
    return list(json.loads(process.stdout)["findings"])


def _planted_found(
    cluster: Cluster, folder: Path, log: Sequence[str], runs: Sequence[Mapping[str, Any]]
) -> bool:
    """Whether a call without a run, a run without its call, and no other mismatch are found."""
    acted = {
        run["id"]
        for run in runs
        if any(step["outcome"] == Outcome.CHANGED for step in run["steps"])
    }
    calls = [json.loads(line) for line in log]
    reboots = [call for call in calls if call["operation"] == _REBOOT and call["session"] in acted]
    if not reboots:
        return False
    last = reboots[-1]
    left = [call for call in calls if call is not last]
    planted = [*left, last | {"session": _ROGUE}]
    findings = _reconcile(cluster, folder, [json.dumps(call) for call in planted])
    return sorted((finding["kind"], finding["run_id"]) for finding in findings) == [
        (FindingKind.CALL_WITHOUT_ENTRY, _ROGUE),
        (FindingKind.ENTRY_WITHOUT_CALL, last["session"]),
    ]


def _command(cluster: Cluster, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "receiver", *arguments],
        env={**without_aws(), **cluster.replicas[0].env},
        capture_output=True,
        text=True,
        # Reads the records of one hour.
        timeout=900,
        check=False,
    )
