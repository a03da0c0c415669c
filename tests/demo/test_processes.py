import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from demo.stack import tools
from demo.stack.monitoring import Monitoring, MonitoringSpec, start_monitoring
from demo.stack.monitoring_config import (
    AS_SHIPPED,
    FAST,
    Connections,
    alertmanager_config,
    rule_files,
)
from demo.stack.processes import (
    Child,
    ProcessError,
    Processes,
    free_port,
    wait_announced,
    wait_ready,
)
from tests.end_to_end.chain_fixtures import INSTANCE, FakeWorld, fake_world

ROOT = Path(__file__).parents[2]
# Starts a child that would sleep for ever, and says which.
PARENT = """
import sys, time
from pathlib import Path
from demo.stack.processes import Processes
child = Processes(Path(sys.argv[1])).start("sleeper", ["sleep", "1000"])
print(child.pid, flush=True)
time.sleep(1000)
"""
# A make with a demo below it, which says that it is tied.
MAKE = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
DEMO = """
import os, time
from demo.stack.processes import end_with_make
end_with_make()
print(os.getpid(), flush=True)
time.sleep(1000)
"""
SERVER = "import sys, http.server as h; h.test(h.SimpleHTTPRequestHandler, port=int(sys.argv[1]))"


def test_no_port_is_given_twice() -> None:
    """Else two machines of a fleet, which has 48 ports, share one in every eleventh demo."""
    assert len({free_port() for _ in range(600)}) == 600


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    with Processes(tmp_path / "logs") as started:
        yield started


def eventually(condition: Callable[[], object], *, within_s: float = 20) -> None:
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Ended; a zombie that nobody has asked after yet counts."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


def python(processes: Processes, code: str, *arguments: str) -> Child:
    return processes.start("python", [sys.executable, "-c", code, *arguments])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_children_end_with_a_killed_parent(tmp_path: Path, number: signal.Signals) -> None:
    """A demo that is killed leaves nothing running, though it had no chance to clean up."""
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        eventually(lambda: Path(f"/proc/{child}/comm").read_text() == "sleep\n")
        parent.send_signal(number)
    eventually(lambda: gone(child))


def test_a_child_whose_parent_is_gone_never_runs() -> None:
    """A parent that is killed while it starts a child leaves nothing behind either."""
    tether = [
        sys.executable,
        "-IS",
        f"{ROOT}/demo/stack/parent_death.py",
        str(os.getppid()),
        "echo",
        "here",
    ]
    ran = subprocess.run(tether, capture_output=True, check=False)
    assert ran.returncode == -signal.SIGKILL
    assert not ran.stdout


def test_the_demo_ends_with_make() -> None:
    """When make is killed, the demo below it is told to end."""
    command = [sys.executable, "-c", MAKE, DEMO]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as make:
        try:
            assert make.stdout
            demo = int(make.stdout.readline())
            assert not gone(demo)
        finally:
            make.kill()
    eventually(lambda: gone(demo))


def test_a_child_that_ends_early_says_why(processes: Processes) -> None:
    """Nobody waits for a server that is dead, and the end of its log is in the error."""
    child = python(processes, "import sys; sys.exit('no such config')")
    with pytest.raises(ProcessError, match=r"(?s)python ended with code 1 .*no such config"):
        wait_ready(child, f"http://127.0.0.1:{free_port()}", timeout_s=60)


def test_a_child_that_never_answers_is_not_waited_for(processes: Processes) -> None:
    """Readiness has a deadline."""
    child = python(processes, "import time; time.sleep(1000)")
    with pytest.raises(ProcessError, match="was not ready within"):
        wait_ready(child, f"http://127.0.0.1:{free_port()}", timeout_s=0.2)


def test_an_unexpected_end_is_noticed(processes: Processes) -> None:
    """A component that dies is named, one that was stopped on purpose is not."""
    wanted = python(processes, "import time; time.sleep(1000)")
    processes.check()
    wanted.stop()
    processes.check()
    lost = python(processes, "import time; time.sleep(1000)")
    os.kill(lost.pid, signal.SIGKILL)
    eventually(lambda: not lost.alive())
    with pytest.raises(ProcessError, match="python has ended with code -9"):
        processes.check()


def test_a_stubborn_child_is_killed(processes: Processes) -> None:
    """SIGTERM comes first, and SIGKILL to who ignores it."""
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('{}'); time.sleep(1000)"
    child = processes.start("python", [sys.executable, "-u", "-c", code])
    wait_announced(child)
    child.stop(grace_s=0.1)
    assert child.popen.returncode == -signal.SIGKILL


def test_an_announcement_is_the_first_whole_object(processes: Processes) -> None:
    """What a server writes before or after its one line of JSON does not matter."""
    code = 'import time; print(\'starting {1}\\n{broken\\n{"url": "u"}\\n{}\', flush=True); '
    child = python(processes, code + "time.sleep(1000)")
    assert wait_announced(child) == {"url": "u"}


def test_a_lost_port_costs_another_try(processes: Processes) -> None:
    """Another program that takes the port first does not stop the chain from starting."""
    tried: list[int] = []

    def command(port: int) -> list[str]:
        tried.append(port)
        lost = "import sys; sys.exit('listen: Address already in use')"
        return [sys.executable, "-c", SERVER if len(tried) > 1 else lost, str(port)]

    child, url = processes.start_on_port("server", command, ready="/")
    assert child.alive()
    assert url == f"http://127.0.0.1:{tried[1]}"


def test_a_server_that_cannot_start_is_tried_once(processes: Processes) -> None:
    """Only a lost port is worth another try."""
    tried: list[int] = []

    def command(port: int) -> list[str]:
        tried.append(port)
        return [sys.executable, "-c", "import sys; sys.exit('broken')"]

    with pytest.raises(ProcessError, match="broken"):
        processes.start_on_port("server", command, ready="/")
    assert len(tried) == 1


def test_a_program_is_run_to_its_end(processes: Processes) -> None:
    """A failing or endless program is an error, with what it wrote."""
    processes.run("true", ["true"], timeout_s=10)
    with pytest.raises(ProcessError, match="code 2"):
        processes.run("false", ["sh", "-c", "exit 2"], timeout_s=10)
    with pytest.raises(ProcessError, match="did not end within"):
        processes.run("endless", ["sleep", "1000"], timeout_s=0.1)


def test_children_are_started_from_the_main_thread(processes: Processes) -> None:
    """The kernel would end a child with the thread that started it."""
    errors: list[BaseException] = []

    def start() -> None:
        try:
            processes.start("sleeper", ["sleep", "1000"])
        except RuntimeError as error:
            errors.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert errors


def openmetrics(end: float) -> str:
    """Two hours of one series of the fake instance, a sample a minute, the last at `end`."""
    labels = f'job="node",instance="10.0.0.7:9100",instance_id="{INSTANCE}"'
    lines = [f"node_load1{{{labels}}} 7 {end - 60 * n}" for n in range(119, -1, -1)]
    return "\n".join(["# TYPE node_load1 gauge", *lines, "# EOF", ""])


@pytest.fixture(scope="module")
def world() -> Iterator[FakeWorld]:
    with fake_world() as world:
        yield world


@pytest.fixture(scope="module")
def chain(world: FakeWorld, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitoring]:
    state = tmp_path_factory.mktemp("chain")
    history = state / "history.om"
    history.write_text(openmetrics(time.time()))
    (state / "token").write_text("a-token\n")
    with Processes(state / "logs") as processes:
        yield start_monitoring(
            processes,
            tools.require(),
            MonitoringSpec(
                state=state,
                connections=Connections(
                    aws=world.url, receiver=world.url, token_file=state / "token"
                ),
                timings=FAST,
                history=history,
            ),
        )


def query(chain: Monitoring, expr: str) -> list[dict[str, object]]:
    answer = httpx.get(f"{chain.prometheus_url}/api/v1/query", params={"query": expr}).json()
    result: list[dict[str, object]] = answer["data"]["result"]
    return result


def test_a_fault_reaches_the_webhook_and_resolves(chain: Monitoring, world: FakeWorld) -> None:
    """A busy instance becomes one authenticated alert with its EC2 identity, and a resolve."""
    eventually(lambda: query(chain, "instance:node_cpu_utilisation:irate"))
    world.busy = 1.0
    eventually(lambda: world.alerts("firing"))
    world.busy = 0.2
    eventually(lambda: world.alerts("resolved"))
    assert {tuple(alert["labels"].items()) for post in world.posts for alert in post["alerts"]} == {
        (
            ("alertname", "HighCPU"),
            ("asg", "web-asg"),
            ("az", "us-east-1b"),
            ("instance", "10.0.0.7:9100"),
            ("instance_id", INSTANCE),
            ("job", "node"),
            ("region", "us-east-1"),
            ("remediation", "cpu"),
            ("severity", "warning"),
        )
    }
    assert set(world.authorizations) == {"Bearer a-token"}
    assert {post["version"] for post in world.posts} == {"4"}


def test_an_unreachable_instance_stays_a_target(chain: Monitoring, world: FakeWorld) -> None:
    """While an instance reboots its exporter is gone, which must show as down and not vanish."""
    series = f'up{{job="node", instance_id="{INSTANCE}"}}'
    eventually(lambda: query(chain, f"{series} == 1"))
    world.reachable = False
    eventually(lambda: query(chain, f"{series} == 0"))
    world.reachable = True
    eventually(lambda: query(chain, f"{series} == 1"))


def test_history_and_live_samples_are_one_series(chain: Monitoring) -> None:
    """What was imported is there beside what is scraped, under the same labels."""
    of = f'job="node", instance="10.0.0.7:9100", instance_id="{INSTANCE}"'
    eventually(lambda: query(chain, f"node_load1{{{of}}} == 0.5"))
    assert query(chain, f"count_over_time((node_load1{{{of}}} == 7)[3h:1m]) > 60")


def test_two_alertmanagers_form_a_cluster(
    processes: Processes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pair knows each other, so that it sends an alert once; a relative folder will do."""
    connections = Connections(
        aws="http://127.0.0.1:9", receiver="http://127.0.0.1:9", token_file=tmp_path / "token"
    )
    monkeypatch.chdir(tmp_path)
    chain = start_monitoring(
        processes,
        tools.require(),
        MonitoringSpec(state=Path("state"), connections=connections, timings=FAST, alertmanagers=2),
    )

    def peers(url: str) -> int:
        return len(httpx.get(f"{url}/api/v2/status").json()["cluster"]["peers"])

    assert len(set(chain.alertmanager_urls)) == 2
    eventually(lambda: all(peers(url) == 2 for url in chain.alertmanager_urls))
    rules = httpx.get(f"{chain.prometheus_url}/api/v1/rules").json()["data"]["groups"]
    assert {rule["name"] for group in rules for rule in group["rules"]} >= {"HighCPU"}


def test_the_demo_keeps_the_shipped_timings(tmp_path: Path) -> None:
    """Unless a test asks for speed, rules and routes run as users get them."""
    connections = Connections(
        aws="http://a:1", receiver="http://b:2", token_file=tmp_path / "token"
    )
    routes = alertmanager_config(connections, AS_SHIPPED)["route"]["routes"]
    (route,) = [each for each in routes if each["receiver"] == "smartcloudops"]
    assert route["group_wait"] == "0s"
    assert route["group_interval"] == "30s"
    holds = {
        rule["alert"]: rule.get("for")
        for _, config in rule_files(AS_SHIPPED)
        for group in config["groups"]
        for rule in group["rules"]
        if "alert" in rule
    }
    assert holds["HighCPU"] == "10s"
    assert holds["InstanceDown"] == "10s"
