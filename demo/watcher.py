"""Plays a scripted incident and watches how every part of the demo reacts."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx

from actions.catalog.ssm.capture import DOCUMENT
from demo.incidents import Incident, Observed
from demo.stack.environment import Environment
from demo.stack.processes import ProcessError
from receiver.runs.model import State

_POLL_S = 0.25
_WRITES = (
    "CancelInstanceRefresh",
    "RebootInstances",
    "SendCommand",
    "SetDesiredCapacity",
    "StartInstanceRefresh",
    "StartInstances",
    "StopInstances",
    "TerminateInstance",
)
_SERVICE = "/service.py"
# An incident that has not ended by then counts as failed.
_LIMIT_S = 360.0


@dataclass(kw_only=True)
class Watcher:
    """Polls every component and reports each new event once."""

    environment: Environment
    http: httpx.Client
    say: Callable[[str, str], None]
    waiting: Callable[[str], None]
    _started: float = field(default=0.0, init=False)

    def play(self, incident: Incident, used: set[str]) -> Observed:
        """Inject the fault, watch until it ends, and compare with the expected outcome."""
        target = incident.group if incident.whole_group else self._healthy(incident, used)
        used.add(target)
        observed = Observed(fault=incident.fault, target=target, fault_at=time.time())
        observed.boot_before, observed.process_before = self._identity(target)
        self._started = time.monotonic()
        answer = self.http.post(
            f"{self.environment.aws}/_sim/fleet/faults",
            json={"target": target, "fault": incident.fault},
        )
        if answer.is_error:
            raise ProcessError(f"{incident.fault} on {target}: {answer.text}")
        self.say("fleet", f"{incident.fault} on {target}")
        reported: set[str] = set()
        ids: set[str] = set()
        while time.monotonic() < self._started + _LIMIT_S:
            members = self._members(incident, target)
            ids |= {member["instance_id"] for member in members}
            self._report_alerts(ids, reported)
            runs = self._runs(ids | {target}, observed)
            self._report_runs(runs, reported)
            self._approve(incident, runs)
            calls = self._calls(observed.fault_at, ids | {target})
            self._note_action(calls, observed, reported)
            if incident.action and observed.recovered_s is None and observed.acted_s is not None:
                self._note_recovery(members, incident, observed)
            if _over(incident, observed, runs):
                break
            self.waiting(_gauges(members))
            time.sleep(_POLL_S)
        observed.boot_after, observed.process_after = self._identity(target)
        return self._evaluate(incident, observed, ids | {target})

    def _identity(self, target: str) -> tuple[str | None, str | None]:
        """Boot id and process of the service; None for a group, and for a simulated instance."""
        item = next((item for item in self._fleet() if item["instance_id"] == target), {})
        services = [pid for pid, words in item.get("processes", {}).items() if _SERVICE in words]
        return item.get("boot_id"), next(iter(services), None)

    def _evaluate(self, incident: Incident, observed: Observed, ids: set[str]) -> Observed:
        runs = self._runs(ids, observed)
        calls = self._calls(observed.fault_at, ids)
        acting = [run for run in runs if run["steps"]]
        matching = acting or [run for run in runs if run["refusal"] == incident.refusal] or runs
        if matching:
            self._record(self._run(matching[-1]["id"]), observed)
        if incident.action is None:
            observed.ended_as_expected = not calls and observed.refusal == incident.refusal
        else:
            observed.ended_as_expected = (
                len(calls) == incident.calls
                and observed.action == incident.action
                and observed.recovered_s is not None
                and [run["state"] for run in acting] == ["succeeded"]
            )
        return observed

    def _record(self, run: dict[str, Any], observed: Observed) -> None:
        observed.run_id, observed.refusal = run["id"], run["refusal"]
        observed.alert_at = _epoch(run["alert"]["starts_at"])
        observed.received_s = _after(run["received_at"], observed)
        observed.decided_s = _after(run["decided_at"], observed)
        if run["steps"]:
            observed.action = run["steps"][0]["action"]
        reasons = (run["verdict"] or {}).get("contributions") or []
        observed.why = " ".join(reason["text"] for reason in reasons) or run["outcome"] or ""

    def _healthy(self, incident: Incident, used: set[str]) -> str:
        """A member to break; where one alone has the nightly job, it is broken by nothing else."""
        nightly = incident.fault == "batch_job"
        for member in self._fleet():
            fit = member["health"] == "healthy" and not member["faults"]
            meant = fit and member.get("nightly_job", nightly) == nightly
            if meant and member["asg"] == incident.group and member["instance_id"] not in used:
                return str(member["instance_id"])
        raise RuntimeError(f"{incident.group} has no healthy member left to break")

    def _fleet(self) -> Sequence[dict[str, Any]]:
        items: Sequence[dict[str, Any]] = self._get(f"{self.environment.aws}/_sim/fleet")["items"]
        return items

    def _members(self, incident: Incident, target: str) -> Sequence[dict[str, Any]]:
        return [
            member
            for member in self._fleet()
            if (member["asg"] if incident.whole_group else member["instance_id"]) == target
        ]

    def _report_alerts(self, ids: set[str], reported: set[str]) -> None:
        for alert in self._get(f"{self.environment.prometheus}/api/v1/alerts")["data"]["alerts"]:
            labels, state = alert["labels"], alert["state"]
            if labels.get("instance_id") in ids:
                name = f"{labels['alertname']} on {labels['instance_id']}"
                _once(
                    reported,
                    f"prometheus {state} {name}",
                    self.say,
                    "prometheus",
                    f"{name} is {state}",
                )

    def _runs(self, targets: set[str], observed: Observed) -> Sequence[dict[str, Any]]:
        since = datetime.fromtimestamp(observed.fault_at).astimezone().isoformat()
        page = self._get(
            f"{self.environment.receiver}/api/v1/runs",
            {"since": since, "limit": "1000"},
            viewer=True,
        )
        return [
            run for run in reversed(page["items"]) if run["target"] in targets or not run["target"]
        ]

    def _report_runs(self, runs: Sequence[dict[str, Any]], reported: set[str]) -> None:
        for run in runs:
            labels = run["alert"]["labels"]
            target = run["target"] or labels.get("instance_id")
            text = f"{labels.get('alertname')} on {target}: {run['state']}"
            if run["refusal"]:
                text += f", {run['refusal']}"
            _once(reported, f"run {run['id']} {run['state']}", self.say, "receiver", text)

    def _approve(self, incident: Incident, runs: Sequence[dict[str, Any]]) -> None:
        """Approve the step for which a person is asked, as an operator does."""
        for run in runs:
            plan = run["plan"] or {}
            if run["state"] == "awaiting_approval" and plan["action"] == incident.approved:
                self.say("demo", f"a person approves {plan['action']} on {plan['target']}")
                url = f"{self.environment.receiver}/api/v1/runs/{run['id']}/approve"
                answer = {"comment": "back to what was healthy", "plan": plan["digest"]}
                token = {"Authorization": f"Bearer {self.environment.tokens['operator']}"}
                self.http.post(url, json=answer, headers=token).raise_for_status()

    def _run(self, run_id: str) -> dict[str, Any]:
        return self._get(f"{self.environment.receiver}/api/v1/runs/{run_id}", viewer=True)

    def _calls(self, since: float, targets: set[str]) -> Sequence[dict[str, Any]]:
        """Calls that changed one of the targets, from the log of the emulated AWS."""
        text = self.http.get(
            f"{self.environment.aws}/_sim/calls", params={"since": str(since)}
        ).text
        return [
            call
            for call in map(_loads, text.splitlines())
            if call["operation"].startswith(_WRITES)
            and call["parameters"].get("DocumentName") != DOCUMENT
            and call["time"] >= since
            and any(target in str(call["parameters"]) for target in targets)
        ]

    def _note_action(
        self, calls: Sequence[dict[str, Any]], observed: Observed, reported: set[str]
    ) -> None:
        for call in calls:
            if observed.acted_s is None:
                observed.acted_s = call["time"] - observed.fault_at
            key = f"aws {call['time']}"
            _once(
                reported, key, self.say, "aws", f"{call['operation']} {_brief(call['parameters'])}"
            )

    def _note_recovery(
        self, members: Sequence[dict[str, Any]], incident: Incident, observed: Observed
    ) -> None:
        # A surge does not end: the group has recovered when it carries the traffic.
        well = all(
            member["health"] == "healthy" and (incident.whole_group or not member["faults"])
            for member in members
        )
        if members and well:
            observed.recovered_s = time.monotonic() - self._started
            self.say("fleet", f"{observed.target} is healthy again")

    def _get(
        self, url: str, params: dict[str, str] | None = None, *, viewer: bool = False
    ) -> dict[str, Any]:
        token = self.environment.tokens["viewer"]
        headers = {"Authorization": f"Bearer {token}"} if viewer else {}
        answer = self.http.get(url, params=params, headers=headers)
        answer.raise_for_status()
        body: dict[str, Any] = answer.json()
        return body


def _over(incident: Incident, observed: Observed, runs: Sequence[dict[str, Any]]) -> bool:
    ended = bool(runs) and all(State(run["state"]).ended for run in runs)
    if incident.action is None:
        return ended
    return ended and observed.recovered_s is not None


def _once(
    reported: set[str], key: str, say: Callable[[str, str], None], component: str, text: str
) -> None:
    if key not in reported:
        reported.add(key)
        say(component, text)


def _loads(line: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(line)
    return loaded


def _brief(parameters: object) -> str:
    if isinstance(parameters, dict):
        return " ".join(f"{key}={value}" for key, value in parameters.items())
    return str(parameters)


def _gauges(members: Sequence[dict[str, Any]]) -> str:
    busy = [member["cpu"] for member in members if member.get("cpu") is not None]
    if not busy:
        return "waiting"
    return f"CPU of {len(busy)}: {100 * max(busy):.0f} % at most, {members[0]['health']}"


def _epoch(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _after(text: str | None, observed: Observed) -> float | None:
    return None if text is None else _epoch(text) - observed.fault_at
