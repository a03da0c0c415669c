"""Two receivers on one real PostgreSQL: both take alerts, one acts, and no effect comes twice."""

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from bench.chaos.cluster import Cluster, ClusterSpec, Replica, run_cluster
from demo.stack.processes import Processes
from receiver.http.access.callers import Role
from tests.api_fixtures import PLAYBOOK, prometheus

# What is promised of a takeover.
_TAKEOVER_S = 30.0
_REBOOT = "RebootInstances"


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    playbook = PLAYBOOK.replace("NAME", "acting").replace("STEP", "{action: reboot_instance}")
    (folder / "playbooks").mkdir()
    (folder / "playbooks/acting.yaml").write_text(playbook)
    with (
        prometheus() as answering,
        Processes(folder / "logs") as processes,
        run_cluster(
            processes,
            ClusterSpec(
                folder=folder,
                playbooks=folder / "playbooks",
                settings={"SMARTCLOUDOPS_VERIFY_INTERVAL_S": "0.2"},
            ),
            lambda *_: answering.url,
        ) as cluster,
    ):
        yield cluster


@pytest.fixture
def two(both: Cluster) -> Iterator[Cluster]:
    """The cluster as a test wants it: both up, one of them leads, AWS answers."""
    both.heal()
    for replica in both.replicas:
        replica.wire.restore()
        if not replica.alive:
            replica.start()
    eventually(both.leader)
    yield both
    for replica in both.replicas:
        if replica.child is not None and replica.child.alive():
            replica.child.popen.send_signal(signal.SIGCONT)


def eventually(look: Callable[[], Any], *, within_s: float = _TAKEOVER_S) -> Any:
    until = time.monotonic() + within_s
    while not (result := look()):
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)
    return result


def pair(two: Cluster) -> tuple[Replica, Replica]:
    """The one that leads, and the other one."""
    leader = eventually(two.leader)
    (other,) = [replica for replica in two.replicas if replica is not leader]
    return leader, other


def fresh(two: Cluster) -> str:
    """An instance that no run was about, in the group that suffered least."""
    leader = eventually(two.leader)
    runs = leader.call("GET", "/api/v1/runs?limit=500", Role.VIEWER).json()["items"]
    touched = {run["target"] for run in runs}
    left = [instance for instance in two.fleet() if instance["instance_id"] not in touched]
    groups = [instance["asg"] for instance in left]
    return str(max(left, key=lambda instance: groups.count(instance["asg"]))["instance_id"])


def alert(two: Cluster, target: str) -> dict[str, Any]:
    (group,) = [instance["asg"] for instance in two.fleet() if instance["instance_id"] == target]
    return {
        "status": "firing",
        "labels": {"alertname": "acting", "instance_id": target, "asg": group},
        "annotations": {},
        "startsAt": datetime.now(UTC).isoformat(),
        "endsAt": "0001-01-01T00:00:00Z",
    }


def story(replica: Replica, target: str, *states: str) -> dict[str, Any]:
    """The target's only run, once it is in one of the states."""

    def look() -> dict[str, Any] | None:
        runs = replica.call("GET", f"/api/v1/runs?target={target}", Role.VIEWER).json()["items"]
        assert len(runs) <= 1
        return runs[0] if runs and runs[0]["state"] in states else None

    run: dict[str, Any] = eventually(look)
    return run


def reboots(two: Cluster, target: str) -> int:
    return sum(target in str(call["parameters"]) for call in two.calls(_REBOOT))


def test_any_takes_an_alert_and_one_acts(two: Cluster) -> None:
    """Delivered to both, many times at once: one run, one reboot, listed by both."""
    target = fresh(two)
    body = alert(two, target)
    with ThreadPoolExecutor(16) as pool:
        taken = [pool.submit(replica.deliver, body) for replica in two.replicas * 20]
    answers = [delivery.result() for delivery in taken]
    assert {answer.status_code for answer in answers} == {200}
    assert sum(answer.json()["accepted"] for answer in answers) == 1
    for replica in two.replicas:
        assert story(replica, target, "succeeded")["steps"][0]["outcome"] == "changed"
    assert reboots(two, target) == 1


def test_a_pause_holds_everywhere_at_once(two: Cluster) -> None:
    """Paused at the one that does not act, the one that acts refuses."""
    leader, other = pair(two)
    target = fresh(two)
    comment = {"comment": "a migration"}
    assert other.call("POST", "/api/v1/pause", Role.OPERATOR, json=comment).status_code == 200
    try:
        leader.deliver(alert(two, target))
        assert story(other, target, "refused")["refusal"] == "paused"
    finally:
        other.call("POST", "/api/v1/resume", Role.OPERATOR, json=comment)
    assert leader.gauge('paused{account="",region=""}') == 0
    assert reboots(two, target) == 0


def test_who_dies_in_the_call_is_taken_over_and_nothing_is_repeated(two: Cluster) -> None:
    """The reboot was sent, its answer never came: the other one goes on and does not send it."""
    leader, other = pair(two)
    target = fresh(two)
    two.inject(service="ec2", operation=_REBOOT, kind="delay", delay_s=3, times=1)
    other.deliver(alert(two, target))
    story(other, target, "acting")
    time.sleep(1)
    assert leader.child is not None
    leader.child.kill()
    killed = time.monotonic()
    ended = story(other, target, "succeeded", "failed")
    assert time.monotonic() - killed < _TAKEOVER_S
    assert [step["outcome"] for step in ended["steps"]] in (["unknown"], ["changed"])
    assert reboots(two, target) == 1


def test_who_stops_hands_over_at_once(two: Cluster) -> None:
    """A rolling upgrade: what is in flight is finished by the other one."""
    leader, other = pair(two)
    target = fresh(two)
    leader.deliver(alert(two, target))
    assert leader.child is not None
    leader.child.stop(grace_s=15)
    assert leader.child.popen.returncode == 0
    eventually(other.leads, within_s=8)
    assert story(other, target, "succeeded")["steps"][0]["outcome"] == "changed"
    assert reboots(two, target) == 1


def test_who_was_frozen_does_not_act_when_it_thaws(two: Cluster) -> None:
    """The process stops in the middle of it all, as a machine that swaps, and comes back later."""
    leader, other = pair(two)
    targets = [fresh(two)]
    assert leader.child is not None
    two.inject(service="ec2", operation="DescribeInstances", kind="delay", delay_s=2, times=2)
    leader.deliver(alert(two, targets[0]))
    story(other, targets[0], "acting", "deciding", "received")
    leader.child.popen.send_signal(signal.SIGSTOP)
    try:
        eventually(other.leads)
        story(other, targets[0], "succeeded", "refused")
    finally:
        leader.child.popen.send_signal(signal.SIGCONT)
    eventually(lambda: leader.call("GET", "/readyz").status_code == 200)
    assert not leader.leads()
    time.sleep(2)
    assert two.leader() is other
    assert reboots(two, targets[0]) <= 1


def test_who_is_cut_off_from_the_database_stops_acting(two: Cluster) -> None:
    """It says so, gives its lease up before the other takes it, and comes back by itself."""
    leader, other = pair(two)
    leader.wire.cut()
    eventually(other.leads)
    target = fresh(two)
    other.deliver(alert(two, target))
    story(other, target, "succeeded")
    assert leader.call("GET", "/healthz").status_code == 200
    assert leader.call("GET", "/readyz").status_code == 503
    leader.wire.restore()
    eventually(lambda: leader.call("GET", "/readyz").status_code == 200)
    assert two.leader() is other
    assert reboots(two, target) == 1


def test_a_database_that_restarts_costs_nothing(two: Cluster) -> None:
    """Alerts are refused with 503 meanwhile, and what is in flight goes on afterwards.

    Those that come shortly before it is back are answered once it is.
    """
    leader, other = pair(two)
    target = fresh(two)
    body = alert(two, target)
    two.inject(service="ec2", operation=_REBOOT, kind="delay", delay_s=2, times=1)
    other.deliver(body)
    story(other, target, "acting")
    two.database.kill()
    assert leader.deliver(body).status_code == 503
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(replica.deliver, body) for replica in two.replicas]
        time.sleep(0.5)
        two.database.start()
    assert {delivery.result().status_code for delivery in waiting} == {200}
    ended = story(other, target, "succeeded", "failed")
    assert ended["steps"][0]["outcome"] in {"changed", "unknown"}
    assert reboots(two, target) == 1
    eventually(two.leader)
