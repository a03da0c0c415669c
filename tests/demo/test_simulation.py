"""The emulated AWS and its fleet, over real HTTP with real boto3."""

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from prometheus_client.parser import text_string_to_metric_families

from actions.aws.client_set import add_run_to_user_agent, on_behalf_of
from demo.stack import tools
from demo.stack.processes import Processes, wait_announced

_SPEED = 20.0


@dataclass(kw_only=True)
class Simulated:
    """A running emulator at twenty times the speed of life."""

    url: str
    http: httpx.Client

    def __post_init__(self) -> None:
        session = boto3.Session("emulated", "emulated", region_name="us-east-1")
        session.events.register("request-created", add_run_to_user_agent)
        once = Config(retries={"total_max_attempts": 1}, read_timeout=5)
        self.ec2 = session.client("ec2", endpoint_url=self.url, config=once)
        self.autoscaling = session.client("autoscaling", endpoint_url=self.url, config=once)
        self.elb = session.client("elbv2", endpoint_url=self.url, config=once)

    def fleet(self) -> dict[str, dict[str, Any]]:
        items = self.http.get(f"{self.url}/_sim/fleet").json()["items"]
        return {item["instance_id"]: item for item in items}

    def members(self, group: str) -> list[dict[str, Any]]:
        return [item for item in self.fleet().values() if item["asg"] == group]

    def break_(self, target: str, fault: str) -> httpx.Response:
        body = json.dumps({"target": target, "fault": fault})
        # As `curl -d` sends it.
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.http.post(f"{self.url}/_sim/fleet/faults", content=body, headers=kind)

    def inject(self, **fault: Any) -> httpx.Response:
        return self.http.post(f"{self.url}/_sim/faults", json=fault)

    def calls(self, operation: str) -> list[dict[str, Any]]:
        lines = self.http.get(f"{self.url}/_sim/calls").text.splitlines()
        return [call for call in map(json.loads, lines) if call["operation"] == operation]

    def series(self, instance_id: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        answer = self.http.get(f"{self.url}/_sim/metrics/{instance_id}")
        assert answer.status_code == httpx.codes.OK
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }

    def host(self, group: str = "web-asg") -> str:
        return next(
            str(item["instance_id"])
            for item in self.members(group)
            if item["health"] == "healthy" and not item["faults"]
        )


def eventually(holds: Callable[[], object]) -> None:
    until = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulated]:
    folder = tmp_path_factory.mktemp("simulation")
    command = [sys.executable, "-m", "demo.aws.server", "--port", "0", "--speed", str(_SPEED)]
    with Processes(folder) as processes, httpx.Client(trust_env=False, timeout=30) as http:
        child = processes.start("aws", command)
        yield Simulated(url=wait_announced(child)["url"], http=http)


@pytest.fixture(autouse=True)
def _healed(sim: Simulated) -> Iterator[None]:
    yield
    sim.http.delete(f"{sim.url}/_sim/faults")
    sim.http.delete(f"{sim.url}/_sim/fleet/faults")


def test_two_groups_of_six_in_three_zones_serve(sim: Simulated) -> None:
    """As EC2 discovery sees them: running, tagged, with an address each."""
    instances = [
        instance
        for reservation in sim.ec2.describe_instances()["Reservations"]
        for instance in reservation["Instances"]
    ]
    assert len(instances) == 12
    assert {instance["State"]["Name"] for instance in instances} == {"running"}
    assert len({instance["PrivateIpAddress"] for instance in instances}) == 12
    for group in ("web-asg", "api-asg"):
        members = sim.members(group)
        assert len(members) == 6
        assert len({item["az"] for item in members}) == 3
        assert all(item["traffic"] > 0 for item in members)
    tags = {tag["Key"]: tag["Value"] for tag in instances[0]["Tags"]}
    assert tags["smartcloudops:remediate"] == "true"
    assert tags["aws:autoscaling:groupName"] in {"web-asg", "api-asg"}


def test_every_call_is_on_record_with_its_run(sim: Simulated) -> None:
    """Service, operation, parameters, session and status, as CloudTrail would have them."""
    target = sim.host()
    with on_behalf_of("01RUN"):
        sim.ec2.reboot_instances(InstanceIds=[target])
    call = sim.calls("RebootInstances")[-1]
    assert (call["service"], call["session"], call["status"]) == ("ec2", "01RUN", 200)
    assert call["parameters"] == {"InstanceIds": [target]}
    assert abs(call["time"] - time.time()) < 10


@pytest.mark.parametrize("service", ["ec2", "autoscaling"])
def test_an_injected_error_reads_like_one_of_aws(sim: Simulated, service: str) -> None:
    """In the form of each service's protocol, as often as asked, then no more."""
    operation = {"ec2": "DescribeInstances", "autoscaling": "DescribeAutoScalingGroups"}[service]
    sim.inject(
        service=service, operation=operation, kind="error", code="Throttling", status=503, times=1
    )
    call = {"ec2": sim.ec2.describe_instances}.get(
        service, sim.autoscaling.describe_auto_scaling_groups
    )
    with pytest.raises(ClientError) as caught:
        call()
    assert caught.value.response["Error"]["Code"] == "Throttling"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    call()


@pytest.mark.parametrize(("kind", "executed"), [("drop", False), ("drop_after", True)])
def test_a_dropped_call_has_no_answer_and_may_have_happened(
    sim: Simulated, kind: str, *, executed: bool
) -> None:
    """Before or after it was executed: the caller cannot tell, the fleet can."""
    target = sim.host()
    sim.inject(operation="RebootInstances", kind=kind, times=1)
    with pytest.raises(BotoCoreError):
        sim.ec2.reboot_instances(InstanceIds=[target])
    assert (sim.fleet()[target]["health"] == "booting") is executed
    assert sim.calls("RebootInstances")[-1]["status"] == 0


def test_a_bad_fault_is_refused_in_a_line(sim: Simulated) -> None:
    """Of AWS and of the fleet alike."""
    host = sim.host()
    refused = (
        sim.inject(kind="explode"),
        sim.inject(kind="error", status=99),
        sim.http.post(f"{sim.url}/_sim/faults", content=b"{"),
        sim.break_("i-00000000000000000", "cpu_runaway"),
        sim.break_("no-group", "traffic_surge"),
        sim.break_(host, "meteor"),
        sim.break_(host, "traffic_surge"),
    )
    for answer in refused:
        assert answer.status_code == httpx.codes.BAD_REQUEST
        assert "\n" not in answer.json()["error"]
    assert sim.http.get(f"{sim.url}/_sim/metrics/i-none").status_code == httpx.codes.NOT_FOUND


def test_a_reboot_clears_a_runaway_process_and_resets_its_counters(sim: Simulated) -> None:
    """Busy before, silent while it boots, healthy with a new boot time and empty counters after."""
    target = sim.host()
    idle = ("node_cpu_seconds_total", (("cpu", "0"), ("mode", "idle")))
    # Long enough to tell it from what is counted after the reboot.
    eventually(lambda: sim.series(target)[idle] > 2)
    before = sim.series(target)
    sim.break_(target, "cpu_runaway")
    assert sim.fleet()[target]["health"] == "degraded"
    assert sim.fleet()[target]["cpu"] > 0.95
    sim.ec2.reboot_instances(InstanceIds=[target])
    answer = sim.http.get(f"{sim.url}/_sim/metrics/{target}")
    assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
    eventually(lambda: sim.fleet()[target]["health"] == "healthy")
    after = sim.series(target)
    assert after["node_boot_time_seconds", ()] > before["node_boot_time_seconds", ()]
    assert after[idle] < before[idle]


def test_a_surge_is_relieved_by_members_and_not_by_reboots(sim: Simulated) -> None:
    """New instances are pending first, then share the load; a fault of one host stays its own."""
    members = [item["instance_id"] for item in sim.members("api-asg")]
    sim.break_("api-asg", "traffic_surge")
    eventually(lambda: all(item["cpu"] > 0.9 for item in sim.members("api-asg")))
    sim.ec2.reboot_instances(InstanceIds=[members[0]])
    eventually(lambda: sim.fleet()[members[0]]["health"] == "degraded")
    sim.autoscaling.set_desired_capacity(AutoScalingGroupName="api-asg", DesiredCapacity=9)
    (group,) = sim.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=["api-asg"])[
        "AutoScalingGroups"
    ]
    assert [member["LifecycleState"] for member in group["Instances"]].count("Pending") == 3
    eventually(lambda: all(item["health"] == "healthy" for item in sim.members("api-asg")))
    assert all(item["cpu"] < 0.75 for item in sim.members("api-asg"))
    sim.break_(members[1], "cpu_runaway")
    sim.autoscaling.set_desired_capacity(AutoScalingGroupName="api-asg", DesiredCapacity=10)
    assert sim.fleet()[members[1]]["health"] == "degraded"


def test_a_terminated_member_is_replaced_by_a_fresh_one(sim: Simulated) -> None:
    """Gone with its fault; what comes is another instance."""
    target = sim.host()
    before = set(sim.fleet())
    sim.break_(target, "cpu_runaway")
    sim.autoscaling.terminate_instance_in_auto_scaling_group(
        InstanceId=target, ShouldDecrementDesiredCapacity=False
    )
    eventually(lambda: target not in sim.fleet() and len(sim.members("web-asg")) == 6)
    (fresh,) = set(sim.fleet()) - before
    eventually(lambda: sim.fleet()[fresh]["health"] == "healthy")


def test_a_stopped_instance_is_silent_and_cannot_be_rebooted(sim: Simulated) -> None:
    """As AWS does; started again, it boots."""
    target = sim.host()
    sim.ec2.stop_instances(InstanceIds=[target])
    assert sim.fleet()[target]["health"] == "stopped"
    with pytest.raises(ClientError, match="IncorrectInstanceState"):
        sim.ec2.reboot_instances(InstanceIds=[target])
    sim.ec2.get_waiter("instance_stopped").wait(InstanceIds=[target], WaiterConfig={"Delay": 1})
    sim.ec2.start_instances(InstanceIds=[target])
    eventually(lambda: sim.fleet()[target]["health"] == "healthy")


@pytest.mark.parametrize("desired", [3, 13])
def test_capacity_out_of_bounds_is_refused(sim: Simulated, desired: int) -> None:
    """With the code of AWS."""
    with pytest.raises(ClientError, match="ValidationError"):
        sim.autoscaling.set_desired_capacity(
            AutoScalingGroupName="web-asg", DesiredCapacity=desired
        )


def test_a_host_out_of_the_load_balancer_gets_no_traffic(sim: Simulated) -> None:
    """Its siblings take its share."""
    target = sim.host()
    arn = next(
        group["TargetGroupArn"]
        for group in sim.elb.describe_target_groups()["TargetGroups"]
        if group["TargetGroupName"] == "web"
    )
    sim.elb.deregister_targets(TargetGroupArn=arn, Targets=[{"Id": target}])
    eventually(lambda: sim.fleet()[target]["traffic"] == 0)
    sim.elb.register_targets(TargetGroupArn=arn, Targets=[{"Id": target}])
    eventually(lambda: sim.fleet()[target]["traffic"] > 0)


def test_a_batch_job_looks_busy_is_harmless_and_ends_by_itself(sim: Simulated) -> None:
    """Healthy all the while."""
    target = sim.host()
    sim.break_(target, "batch_job")
    truth = sim.fleet()[target]
    assert (truth["health"], truth["faults"]) == ("healthy", ["batch_job"])
    assert truth["cpu"] > 0.9
    eventually(lambda: not sim.fleet()[target]["faults"])


def test_counters_only_rise(sim: Simulated) -> None:
    """Between two looks, while nobody reboots."""
    target = sim.host()
    first = sim.series(target)
    time.sleep(0.5)
    second = sim.series(target)
    assert first.keys() == second.keys()
    for key, value in first.items():
        if key[0].endswith("_total"):
            assert second[key] >= value, key


def test_the_past_is_imported_and_goes_on_into_the_present(sim: Simulated, tmp_path: Path) -> None:
    """Promtool takes it; the job ran at this hour on earlier days, not in the last two hours."""
    # One whose counters were never reset.
    target = min(sim.members("web-asg"), key=lambda item: item["booted_at"])["instance_id"]
    written = tmp_path / "history.om"
    rows: list[tuple[float, float]] = []
    with sim.http.stream("GET", f"{sim.url}/_sim/history") as response, written.open("w") as file:
        for line in response.iter_lines():
            file.write(line + "\n")
            if line.startswith("node_disk_written_bytes_total") and target in line:
                value, moment = line.rsplit(" ", 2)[1:]
                rows.append((float(moment), float(value)))
    data = tmp_path / "data"
    promtool = str(tools.require().promtool)
    command = [promtool, "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=168h"]
    subprocess.run([*command, str(written), str(data)], check=True, capture_output=True)
    assert list(data.iterdir())
    end = rows[-1][0]
    rates = {
        then: (value - before) / (then - earlier)
        for (earlier, before), (then, value) in itertools.pairwise(rows)
    }
    day = 86_400.0
    for ago in range(1, 7):
        at_this_hour = [r for then, r in rates.items() if 0 < then - (end - ago * day) < 1800]
        assert min(at_this_hour) > 1e7
    assert max(r for then, r in rates.items() if then > end - 7_200) < 1e7
    live = sim.series(target)["node_disk_written_bytes_total", (("device", "nvme0n1"),)]
    assert live >= rows[-1][1]
