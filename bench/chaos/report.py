"""What is left to say after the chaos: AWS's log of calls, held against what is on record."""

import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from actions.assurance.reconcile import FindingKind
from actions.base import Outcome
from bench.chaos.cluster import Cluster
from demo.stack.processes import without_aws

_REBOOT = "RebootInstances"
_ROGUE = "ROGUE"
# One of six: a tenth of a group, and at least one, may be out.
_OUT_AT_MOST = 1
_HOUR_S = 3600.0
# A step is on record within so long after its claim, from which the cooldown counts.
_ON_RECORD_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Caps:
    """How many acts there may be in any hour, and how far those on one target must be apart."""

    target: int
    group: int
    playbook: int
    cooldown_s: float


@dataclass(frozen=True, kw_only=True)
class Deliveries:
    """Alertmanager's, as it counted them itself: each is tried until it is taken or given up."""

    total: int = 0
    tried_again: int = 0
    given_up: int = 0

    def __sub__(self, before: "Deliveries") -> "Deliveries":
        return Deliveries(
            total=self.total - before.total,
            tried_again=self.tried_again - before.tried_again,
            given_up=self.given_up - before.given_up,
        )

    def share(self, but: int) -> float | None:
        return 1 - but / self.total if self.total else None


def delivered(http: httpx.Client, alertmanager: str, log: Path) -> Deliveries:
    """All until now. `alertmanager` is its URL, `log` what it wrote."""
    counted: Counter[str] = Counter()
    for line in http.get(f"{alertmanager}/metrics").text.splitlines():
        for name in ("total", "failed_total"):
            if line.startswith(f'alertmanager_notifications_{name}{{integration="webhook"'):
                counted[name] += int(float(line.rpartition(" ")[2]))
    # It tells of a success only where it was not the first try.
    tried_again = sum(
        "integration=webhook" in line and "Notify success" in line
        for line in log.read_text().splitlines()
    )
    return Deliveries(
        total=counted["total"], tried_again=tried_again, given_up=counted["failed_total"]
    )


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was found, as counts but for the shares of 1.

    `availability` is the share of Alertmanager's deliveries that were answered 2xx at the first
    try, `taken` that of those which were in the end, by its own retries. `planted_found`: a call
    that was added to the log and one that was taken out are found, and nothing else.
    """

    rounds: int
    alerts_acked: int
    lost: int
    unexplained: int
    acted: int
    doubled: int
    caps_exceeded: int
    audit_mismatches: int
    planted_found: bool
    audit_holds: bool
    availability: float | None
    taken: float | None
    deliveries: int
    disasters: Mapping[str, int]
    states: Mapping[str, int]

    @property
    def sound(self) -> bool:
        wrong = self.lost + self.unexplained + self.doubled + self.caps_exceeded
        seen = self.planted_found and self.audit_holds
        return not wrong + self.audit_mismatches and seen


def judged(  # noqa: PLR0913 each is one fact about what went on
    made: Cluster,
    stories: Sequence[Mapping[str, Any]],
    sent: set[str],
    *,
    caps: Caps,
    deliveries: Deliveries,
    folder: Path,
    rounds: int,
    disasters: Mapping[str, int],
) -> Verdict:
    """All that was sent against the runs, and all calls against the records."""
    mine = [one for one in stories if "n" in one["alert"]["labels"]]
    known = {one["alert"]["labels"]["n"] for one in mine}
    calls = [call for call in made.calls(_REBOOT) if call["status"] in (0, 200)]
    by_run = Counter(call["session"] for call in calls)
    seen = made.http.get(f"{made.aws}/_sim/calls").text.splitlines()
    return Verdict(
        rounds=rounds,
        alerts_acked=len(known),
        lost=len(sent - known),
        unexplained=sum(not one["ended_at"] or not _explained(one) for one in mine),
        acted=len(calls),
        doubled=sum(count - 1 for count in by_run.values()),
        caps_exceeded=together(stories)
        + too_many(calls, made.fleet(), caps)
        + too_soon(stories, caps.cooldown_s),
        audit_mismatches=len(_reconciled(made, folder, seen)),
        planted_found=_planted_found(made, folder, seen, mine),
        audit_holds=_command(made, "audit", "verify").returncode == 0,
        availability=deliveries.share(deliveries.tried_again + deliveries.given_up),
        taken=deliveries.share(deliveries.given_up),
        deliveries=deliveries.total,
        disasters=dict(disasters),
        states=dict(Counter(one["refusal"] or one["state"] for one in mine)),
    )


def _explained(story: Mapping[str, Any]) -> bool:
    return bool(story["refusal"] or story["outcome"] or story["steps"])


def together(stories: Sequence[Mapping[str, Any]]) -> int:
    """How often more of a group were out at the same time than may be."""
    spans: defaultdict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
    for one in stories:
        begun = [step for step in one["steps"] if step["outcome"] != "failed"]
        if begun and one["ended_at"]:
            start = datetime.fromisoformat(begun[0]["started_at"])
            spans[one["group"]].append((start, datetime.fromisoformat(one["ended_at"])))
    exceeded = 0
    for of_group in spans.values():
        for start, _ in of_group:
            exceeded += sum(begin <= start < end for begin, end in of_group) > _OUT_AT_MOST
    return exceeded


def too_many(
    calls: Sequence[Mapping[str, Any]], fleet: Sequence[Mapping[str, Any]], caps: Caps
) -> int:
    """How often one act more was called for than an hour may have, by AWS' own log."""
    groups = {one["instance_id"]: one["asg"] for one in fleet}
    times: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for call in calls:
        target = call["parameters"]["InstanceId.1"]
        for one in (("target", target), ("group", groups[target]), ("playbook", "")):
            times[one].append(call["time"])
    return sum(
        sum(at - _HOUR_S < one <= at for one in of_one) > getattr(caps, kind)
        for (kind, _), of_one in times.items()
        for at in of_one
    )


def too_soon(stories: Sequence[Mapping[str, Any]], cooldown_s: float) -> int:
    """How often a target was acted on again within its cooldown."""
    times: defaultdict[str, list[float]] = defaultdict(list)
    for one in stories:
        for step in one["steps"]:
            if step["outcome"] != "failed":
                begun = datetime.fromisoformat(step["started_at"]).timestamp()
                times[one["target"]].append(begun)
    return sum(
        later - earlier < cooldown_s - _ON_RECORD_S
        for of_one in times.values()
        for earlier, later in pairwise(sorted(of_one))
    )


def _reconciled(made: Cluster, folder: Path, seen: Sequence[str]) -> list[dict[str, Any]]:
    """Calls without a record and records without a call, as `audit reconcile` finds them."""
    log = folder / "calls.jsonl"
    log.write_text("\n".join(seen))
    ran = _command(made, "audit", "reconcile", "--since", "24h", "--events", str(log), "--json")
    return list(json.loads(ran.stdout)["findings"])


def _planted_found(
    made: Cluster, folder: Path, seen: Sequence[str], stories: Sequence[Mapping[str, Any]]
) -> bool:
    """Whether a call of nobody's, and one less of a step that acted, are found and nothing else."""
    acted = {
        one["id"]
        for one in stories
        if any(step["outcome"] == Outcome.CHANGED for step in one["steps"])
    }
    calls = [json.loads(line) for line in seen]
    reboots = [one for one in calls if one["operation"] == _REBOOT and one["session"] in acted]
    if not reboots:
        return False
    last = reboots[-1]
    left = [one for one in calls if one["session"] != last["session"]]
    planted = [*left, last | {"session": _ROGUE}]
    found = _reconciled(made, folder, [json.dumps(one) for one in planted])
    return sorted((one["kind"], one["run_id"]) for one in found) == [
        (FindingKind.CALL_WITHOUT_ENTRY, _ROGUE),
        (FindingKind.ENTRY_WITHOUT_CALL, last["session"]),
    ]


def _command(made: Cluster, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "receiver", *arguments],
        env={**without_aws(), **made.replicas[0].env},
        capture_output=True,
        text=True,
        # A whole hour's records.
        timeout=900,
        check=False,
    )
