"""What is left to say after the chaos: AWS's log of calls, held against what is on record."""

import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.cluster import Cluster
from demo.processes import without_aws

_REBOOT = "RebootInstances"
# One of six: a tenth of a group, and at least one, may be out.
_OUT_AT_MOST = 1


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was found, as counts but for the shares of 1.

    `availability` is the share of requests to webhooks that were answered 2xx at the first try,
    of both receivers, each of which is dead for a good part of the time; `taken` that of the
    alerts which were taken in the end, by Alertmanager's own retries.
    """

    rounds: int
    alerts_acked: int
    lost: int
    unexplained: int
    acted: int
    doubled: int
    caps_exceeded: int
    audit_mismatches: int
    audit_holds: bool
    availability: float | None
    taken: float
    states: Mapping[str, int]

    @property
    def sound(self) -> bool:
        wrong = self.lost + self.unexplained + self.doubled + self.caps_exceeded
        return not wrong + self.audit_mismatches and self.audit_holds


def judged(  # noqa: PLR0913 each is one fact about what went on
    made: Cluster,
    stories: Sequence[Mapping[str, Any]],
    sent: set[str],
    *,
    alertmanager: str,
    folder: Path,
    rounds: int,
) -> Verdict:
    """All that was sent against the runs, and all calls against the records."""
    mine = [one for one in stories if "n" in one["alert"]["labels"]]
    known = {one["alert"]["labels"]["n"] for one in mine}
    calls = [call for call in made.calls(_REBOOT) if call["status"] in (0, 200)]
    by_run = Counter(call["session"] for call in calls)
    return Verdict(
        rounds=rounds,
        alerts_acked=len(known),
        lost=len(sent - known),
        unexplained=sum(not one["ended_at"] or not _explained(one) for one in mine),
        acted=len(calls),
        doubled=sum(count - 1 for count in by_run.values()),
        caps_exceeded=_together(stories),
        audit_mismatches=_mismatches(made, folder),
        audit_holds=_command(made, "audit", "verify").returncode == 0,
        availability=_availability(made, alertmanager),
        taken=len(sent & known) / len(sent),
        states=dict(Counter(one["refusal"] or one["state"] for one in mine)),
    )


def _explained(story: Mapping[str, Any]) -> bool:
    return bool(story["refusal"] or story["outcome"] or story["steps"])


def _together(stories: Sequence[Mapping[str, Any]]) -> int:
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


def _mismatches(made: Cluster, folder: Path) -> int:
    """Calls without a record and records without a call, as `audit reconcile` finds them."""
    log = folder / "calls.jsonl"
    log.write_text(made.http.get(f"{made.aws}/_sim/calls").text)
    ran = _command(made, "audit", "reconcile", "--since", "24h", "--events", str(log), "--json")
    return len(json.loads(ran.stdout)["findings"])


def _command(made: Cluster, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # noqa: S603 our own command
        [sys.executable, "-m", "receiver", *arguments],
        env={**without_aws(), **made.replicas[0].env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def _availability(made: Cluster, alertmanager: str) -> float | None:
    """By Alertmanager's own count of its requests to webhooks."""
    totals: Counter[str] = Counter()
    for line in made.http.get(f"{alertmanager}/metrics").text.splitlines():
        for name in ("requests_total", "requests_failed_total"):
            if line.startswith(f'alertmanager_notification_{name}{{integration="webhook"'):
                totals[name] += int(float(line.rpartition(" ")[2]))
    asked = totals["requests_total"]
    return 1 - totals["requests_failed_total"] / asked if asked else None
