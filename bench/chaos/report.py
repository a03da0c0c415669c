"""The report of `make chaos`: compares AWS's log of calls with the records."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from actions.assurance.reconcile import FindingKind
from actions.base import Outcome
from bench.chaos.cluster import Cluster
from bench.chaos.counts import (
    Caps,
    count_astray,
    count_doubled,
    count_in_cooldown,
    count_over_caps,
    count_suspended,
    count_together,
    is_forged,
)
from bench.chaos.monitoring import Deliveries
from demo.stack.processes import without_aws

_REBOOT = "RebootInstances"
_ROGUE = "ROGUE"
# With fewer actions than this in a round nothing is proved about actions.
_ACTED_PER_ROUND = 1


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
    mismatches = _reconcile(cluster, folder, log)
    for mismatch in mismatches:
        click.echo(f"mismatch: {json.dumps(mismatch)}", err=True)
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
        audit_mismatches=len(mismatches),
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


def _explained(run: Mapping[str, Any]) -> bool:
    return bool(run["refusal"] or run["outcome"] or run["steps"])


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
