"""The whole way on real parts: fault, Prometheus, Alertmanager, receiver, AWS, recovery."""

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from actions.catalog.ssm.capture import DOCUMENT
from demo.stack import tools
from demo.stack.environment import (
    Environment,
    EnvironmentOptions,
    start_environment,
    start_receiver,
)
from demo.stack.monitoring_config import Timings
from demo.stack.processes import Processes
from tests.deploy.dashboard_queries import PanelQuery, panel_queries

_ROOT = Path(__file__).parents[2]
_PATIENCE_S = 60
_PAST_S = 7 * 86_400
# Quick, but with the hold of the shipped rules: the re-check looks at the last seconds, too.
_TIMINGS = Timings(scrape="1s", evaluation="1s", hold="10s", group_interval="1s", discovery="1s")


@dataclass(kw_only=True)
class Chain:
    """The running demo stage, at one second a scrape, with two Alertmanagers."""

    stage: Environment
    processes: Processes
    http: httpx.Client

    def fleet(self) -> dict[str, dict[str, Any]]:
        items = self.http.get(f"{self.stage.aws}/_sim/fleet").json()["items"]
        return {item["instance_id"]: item for item in items}

    def members(self, group: str) -> list[str]:
        return [name for name, item in self.fleet().items() if item["asg"] == group]

    def fresh(self) -> str:
        """A member that has a past, is well, and was not acted on; best one that never alerted."""
        runs = {target: self.runs(target) for target in self.fleet()}
        fit = [
            (bool(runs[target]), item["launched_at"], target)
            for target, item in self.fleet().items()
            if _well(item)
            and item["launched_at"] < time.time() - _PAST_S
            and not any(run["steps"] for run in runs[target])
        ]
        return min(fit)[2]

    def acted(self, target: str, within_s: float = _PATIENCE_S) -> list[dict[str, Any]]:
        """The target's runs that acted, once there are some and all have ended."""
        eventually(lambda: any(run["steps"] for run in self.runs(target)), within_s)
        return [run for run in self.ended(target, within_s=within_s) if run["steps"]]

    def break_(self, target: str, fault: str) -> None:
        body = {"target": target, "fault": fault}
        self.http.post(f"{self.stage.aws}/_sim/fleet/faults", json=body).raise_for_status()

    def get(self, path: str, **params: str) -> Any:
        headers = {"Authorization": f"Bearer {self.stage.tokens['viewer']}"}
        answer = self.http.get(f"{self.stage.receiver}{path}", params=params, headers=headers)
        answer.raise_for_status()
        return answer.json()

    def query(self, expr: str) -> Any:
        """Prometheus' answer."""
        url = f"{self.stage.prometheus}/api/v1/query"
        return self.http.get(url, params={"query": expr}).json()["data"]["result"]

    def runs(self, *targets: str) -> list[dict[str, Any]]:
        return [
            run for target in targets for run in self.get("/api/v1/runs", target=target)["items"]
        ]

    def ended(self, *targets: str, within_s: float = _PATIENCE_S) -> list[dict[str, Any]]:
        """Runs of the targets, once there are some and all have ended."""

        def all_ended() -> list[dict[str, Any]]:
            by_id = {run["id"]: run for run in self.runs(*targets)}
            over = by_id and all(run["ended_at"] for run in by_id.values())
            return list(by_id.values()) if over else []

        runs: list[dict[str, Any]] = eventually(all_ended, within_s)
        return runs

    def calls(self, *targets: str) -> list[dict[str, Any]]:
        """Calls that changed one of the targets, as the emulated AWS saw them."""
        lines = self.http.get(f"{self.stage.aws}/_sim/calls").text.splitlines()
        changing = [
            call
            for call in map(json.loads, lines)
            if call["operation"] in _CHANGING and call["parameters"].get("DocumentName") != DOCUMENT
        ]
        return [call for call in changing if any(target in str(call) for target in targets)]


_NO_ACTS = {"capture", "suspend_processes", "resume_processes"}
_CHANGING = (
    "RebootInstances",
    "SendCommand",
    "SetDesiredCapacity",
    "TerminateInstanceInAutoScalingGroup",
)


def eventually(look: Any, within_s: float = _PATIENCE_S) -> Any:
    """What `look` gives, once that is something."""
    until = time.monotonic() + within_s
    while not (result := look()):
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.2)
    return result


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    folder = tmp_path_factory.mktemp("chain")
    playbooks = folder / "playbooks"
    playbooks.mkdir()
    for path in (_ROOT / "playbooks").glob("*.yaml"):
        (playbooks / path.name).write_text(path.read_text().replace("for: 15s", "for: 2s"))
    with Processes(folder / "logs") as processes, httpx.Client(trust_env=False) as http:
        stage = start_environment(
            processes,
            tools.require(),
            EnvironmentOptions(
                folder=folder / "state",
                seed=3,
                timings=_TIMINGS,
                alertmanagers=2,
                speed=4.0,
                settings={
                    "SMARTCLOUDOPS_PLAYBOOKS": str(playbooks),
                    "SMARTCLOUDOPS_VERIFY_INTERVAL_S": "1",
                },
            ),
        )
        chain = Chain(stage=stage, processes=processes, http=http)
        eventually(lambda: chain.query('count(up{job="node"} == 1) == 12'))
        # A few more scrapes, so that there is a present to compare with.
        time.sleep(5)
        yield chain


def _passed(run: dict[str, Any]) -> Sequence[str]:
    return [gate["name"] for gate in run["gates"] if gate["passed"]]


def _of_target(run: dict[str, Any]) -> list[dict[str, Any]]:
    """Its steps without those on the group, which lend and give back."""
    return [step for step in run["steps"] if step["target"] == run["target"]]


def test_a_runaway_process_is_ended_by_one_reboot(chain: Chain) -> None:
    """The fleet's truth says that it is healed; the run tells why and how."""
    target = chain.fresh()
    before = chain.fleet()[target]["booted_at"]
    chain.break_(target, "cpu_runaway")
    (run,) = chain.ended(target)
    assert run["state"] == "succeeded", run["outcome"]
    truth = chain.fleet()[target]
    assert (truth["health"], truth["faults"]) == ("healthy", [])
    assert truth["booted_at"] > before
    assert [(step["action"], step["outcome"]) for step in _of_target(run)] == [
        ("reboot_instance", "changed")
    ]
    assert run["verdict"]["answer"] == "confirmed"
    assert _passed(run)[-1] == "mode"
    (call,) = chain.calls(target)
    assert call["session"] == run["id"]


def test_a_surging_group_is_scaled_out_and_nobody_rebooted(chain: Chain) -> None:
    """One run scales, its siblings are refused, and every member carries its load with ease."""
    members = chain.members("api-asg")
    chain.break_("api-asg", "traffic_surge")
    runs = chain.ended(*members, "api-asg")
    assert sorted(run["state"] for run in runs).count("succeeded") == 1
    assert {run["refusal"] for run in runs if run["state"] == "refused"} <= {
        "target_busy",
        "cooldown",
    }
    (call,) = chain.calls(*members, "api-asg")
    assert call["parameters"]["DesiredCapacity"] == 9
    truth = [item for item in chain.fleet().values() if item["asg"] == "api-asg"]
    assert len(truth) == 9
    assert {item["health"] for item in truth} == {"healthy"}
    chain.http.request("DELETE", f"{chain.stage.aws}/_sim/fleet/faults", json={"target": "api-asg"})


def _reasons(run: dict[str, Any]) -> str:
    return "; ".join(reason["text"] for reason in run["verdict"]["contributions"])


def test_a_batch_job_of_this_hour_is_left_alone(chain: Chain) -> None:
    """It looks like a fault, and the run says why it is none."""
    target = chain.fresh()
    chain.break_(target, "batch_job")
    (run,) = chain.ended(target)
    assert (run["state"], run["refusal"]) == ("refused", "verdict_refuted")
    assert "usual at this hour" in _reasons(run)
    assert chain.calls(target) == []


def test_a_host_without_a_past_is_left_to_people(chain: Chain) -> None:
    """The CPU that ends in a reboot elsewhere: of a host minutes old nobody can say."""
    launched = {instance_id: item["launched_at"] for instance_id, item in chain.fleet().items()}
    target = max(launched, key=lambda instance_id: launched[instance_id])
    chain.break_(target, "cpu_runaway")
    (run,) = chain.ended(target)
    assert (run["state"], run["refusal"]) == ("refused", "verdict_undecided")
    assert "a usual level needs 24 h" in _reasons(run)
    assert chain.calls(target) == []
    chain.http.request("DELETE", f"{chain.stage.aws}/_sim/fleet/faults", json={"target": target})


@pytest.mark.parametrize(
    ("fault", "action", "call"),
    [
        ("service_hang", "restart_service", "SendCommand"),
        ("disk_full", "run_document", "SendCommand"),
        ("memory_leak", "restart_service", "SendCommand"),
        ("instance_down", "reboot_instance", "RebootInstances"),
    ],
)
def test_each_fault_gets_its_own_remedy(chain: Chain, fault: str, action: str, call: str) -> None:
    """One act, by the lightest step that mends it, and the fleet is well again."""
    target = chain.fresh()
    chain.break_(target, fault)
    acted = chain.acted(target)
    assert [run["state"] for run in acted] == ["succeeded"], acted
    assert [step["action"] for step in _of_target(acted[0])] == [action]
    assert [sent["operation"] for sent in chain.calls(target)][-1:] == [call]
    assert _well(chain.fleet()[target])


def _well(item: dict[str, Any]) -> bool:
    return item["health"] == "healthy" and not item["faults"]


def test_copies_two_alertmanagers_and_a_kill_still_make_one_reboot(chain: Chain) -> None:
    """Killed while it acts, started again, and sent the same alert fifty times at once."""
    target = chain.fresh()
    chain.break_(target, "cpu_runaway")
    (run,) = eventually(lambda: [run for run in chain.runs(target) if run["steps"]])
    chain.stage.service.kill()
    service = start_receiver(chain.processes, chain.stage.receiver, chain.stage.env)
    alert = {
        "status": "firing",
        "labels": run["alert"]["labels"],
        "annotations": {},
        "startsAt": run["alert"]["starts_at"],
        "endsAt": "0001-01-01T00:00:00Z",
        "fingerprint": run["alert"]["fingerprint"],
    }
    headers = {"Authorization": f"Bearer {chain.stage.tokens['webhook']}"}

    def post(_: int) -> httpx.Response:
        return chain.http.post(
            f"{chain.stage.receiver}/webhook/alertmanager",
            json={"version": "4", "alerts": [alert]},
            headers=headers,
        )

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(post, range(50)))
    assert {answer.json()["duplicates"] for answer in answers} == {1}
    assert [run["state"] for run in chain.acted(target)] == ["succeeded"]
    assert len(chain.calls(target)) == 1
    assert service.alive()


def test_the_audit_holds_and_names_every_change(chain: Chain) -> None:
    """Each call that changed AWS has its record, and the chain is whole."""
    assert chain.get("/api/v1/audit/verify")["ok"]
    calls = chain.calls(*chain.fleet(), "web-asg", "api-asg")
    for call in calls:
        dispatched = [
            record
            for record in chain.get("/api/v1/audit", run=call["session"])["items"]
            if record["event"] == "step_dispatched" and record["detail"]["action"] not in _NO_ACTS
        ]
        assert len(dispatched) == 1
    assert len(calls) == 7


def test_every_panel_of_the_dashboards_shows_something(chain: Chain) -> None:
    """With the queries of Grafana, on the Prometheus that scraped the incidents above."""
    up = {"query": 'up{job="smartcloudops"} == 1'}
    url = f"{chain.stage.prometheus}/api/v1"
    # The receiver was killed above, and what a target says is gone until it is scraped again.
    eventually(lambda: chain.http.get(f"{url}/query", params=up).json()["data"]["result"])

    def shows(query: PanelQuery) -> bool:
        now = time.time()
        over = {"start": now - 1800, "end": now, "step": 15}
        kind, when = ("query", {"time": now}) if query.instant else ("query_range", over)
        answer = chain.http.get(f"{url}/{kind}", params={"query": query.expr, **when}).json()
        assert answer["status"] == "success", f"{query.panel}: {answer}"
        series = answer["data"]["result"]
        values = [row for each in series for row in (each.get("values") or [each["value"]])]
        return any(value != "NaN" for _, value in values)

    empty = {query for query in panel_queries() if not shows(query)}
    assert not empty
