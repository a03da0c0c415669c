"""Only samples that are newer than the step count, by a real Prometheus at any scrape interval."""

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import httpx
import numpy as np
import pytest

from actions.base import TargetKind
from bench.scenes.remote_write import Series, write
from demo.stack import tools
from demo.stack.processes import Processes
from models.inference.verdict import Answer, Verdict
from receiver.decision.stored_plan import load_expr
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.prometheus.expressions import widen
from receiver.evidence.prometheus.freshness import ConditionReader, Finding
from receiver.evidence.promql_recheck import recheck, unless_old
from receiver.evidence.target import Target
from receiver.playbooks.schema import Playbook

_names = count()
_HOST, _OTHER = "i-0123456789abcdef0", "i-0123456789abcdef1"


@dataclass(frozen=True)
class Server:
    url: str

    def find(
        self, expr: str, *, every_s: float, newest_s: float, acted_s: float, per_s: float = 0.0
    ) -> Finding:
        """The answer about a series `M`: its newest sample, and the step, are so old.

        It grows by `per_s`, or else falls from 9 to 1 before the step.
        """
        now, name = time.time(), f"metric_{next(_names)}"
        at = np.arange(now - newest_s - 900, now - newest_s + 0.1, every_s)[-int(600 / every_s) :]
        at += now - newest_s - at[-1]
        values = np.where(at < now - acted_s - 100, 9.0, 1.0) if not per_s else (at - at[0]) * per_s
        labels = f'{{instance_id="{_HOST}"}}'
        with httpx.Client(trust_env=False) as client:
            write(client, self.url, [Series(f"{name}{labels}", at, values)])
        with Prometheus(self.url) as prometheus:
            reader = ConditionReader(prometheus)
            return reader.find_since(expr.replace("M", name + labels), now - acted_s, now)


@dataclass(frozen=True)
class _Judged:
    """A host whose value jumps from 1 to 9 when the fault begins."""

    server: Server
    every_s: float
    age_s: float = 0.0

    def recheck(self, condition: str, *, fault_s: float, alert_s: float) -> Verdict:
        """The verdict of a playbook's condition on `M`: fault and alert began so long ago."""
        now, name = time.time(), f"metric_{next(_names)}"
        newest = now - self.age_s
        at = newest - np.arange(1200 // self.every_s)[::-1] * self.every_s
        values = np.cumsum(np.where(at > now - fault_s, 9.0, 1.0) * self.every_s)
        labels = f'{{instance_id="{_HOST}"}}'
        with httpx.Client(trust_env=False) as client:
            write(client, self.server.url, [Series(f"{name}{labels}", at, values)])
        steps = [{"action": "reboot_instance"}]
        playbook = Playbook.model_validate(
            {
                "name": "host-ill",
                "description": "A host is ill.",
                "match": ['alertname="A"'],
                "mode": "auto",
                "recheck": [condition.replace("M", f"{name}{{$selector}}")],
                "steps": steps,
            }
        )
        target = Target(id=_HOST, kind=TargetKind.INSTANCE)
        with Prometheus(self.server.url) as prometheus, ThreadPoolExecutor(1) as pool:
            reader = ConditionReader(prometheus)
            verdict = recheck(reader, playbook, target, now, pool)
            return unless_old(reader, verdict, playbook, target, (now - alert_s, now))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("prometheus")
    config = {"global": {"evaluation_interval": "1s"}, "rule_files": ["rules.yml"]}
    (folder / "prometheus.yml").write_text(json.dumps(config))
    rule = {"record": "instance:lagging:max", "expr": "max by (instance_id) (lagging)"}
    alert = {"alert": "Ill", "expr": "lagging > 5"}
    kept = {"alert": "Kept", "expr": "kept_fault > 5", "keep_firing_for": "5m"}
    rules = {"groups": [{"name": "test", "rules": [rule, alert, kept]}]}
    (folder / "rules.yml").write_text(json.dumps(rules))

    def serve(port: int) -> Sequence[str | Path]:
        return (
            tools.find("prometheus"),
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--web.enable-remote-write-receiver",
            f"--web.listen-address=127.0.0.1:{port}",
        )

    with Processes(folder / "logs") as processes:
        _, url = processes.start_on_port("prometheus", serve, ready="/-/ready")
        yield Server(url)


@pytest.mark.parametrize("window", ["[10s]", "[20s]", "[1m]"])
@pytest.mark.parametrize("every_s", [5, 15, 30, 60])
def test_every_interval_is_judged(server: Server, every_s: float, window: str) -> None:
    """By windows that are too short for it, too: the same verdict in the end."""
    host = _Judged(server, every_s)
    expr = f"sum(irate(M{window})) > bool 5"
    ill = host.recheck(expr, fault_s=4 * every_s, alert_s=2 * every_s)
    assert ill.answer is Answer.CONFIRMED
    well = host.recheck(expr, fault_s=-1.0, alert_s=3 * every_s)
    assert well.answer is Answer.REFUTED


@pytest.mark.parametrize(("every_s", "age_s"), [(30, 20), (60, 40), (5, 20), (15, 45), (15, 120)])
def test_samples_from_before_the_alert_refute_nothing(
    server: Server, every_s: float, age_s: float
) -> None:
    """They cannot tell yet, and say how old they are."""
    host = _Judged(server, every_s, age_s)
    verdict = host.recheck("sum(rate(M[3m])) > bool 8", fault_s=-1.0, alert_s=age_s + 2)
    assert verdict.answer is Answer.UNDECIDED
    assert "cannot tell yet" in verdict.contributions[0].text
    later = host.recheck("sum(rate(M[3m])) > bool 8", fault_s=-1.0, alert_s=age_s + 3 * every_s)
    assert later.answer is Answer.REFUTED


@pytest.mark.parametrize("every_s", [5, 15, 30, 60])
@pytest.mark.parametrize(
    ("expr", "holds"),
    [
        ("max(M) < bool 5", True),
        ("max(M) > bool 5", False),
        ("sum(rate(M[20s])) >= bool 0", True),
        ("sum(irate(M[30s])) > bool 0", False),
    ],
)
def test_every_interval_verifies(server: Server, every_s: float, expr: str, *, holds: bool) -> None:
    """A window of 20 seconds has no two samples at 30 or 60: it follows what is measured."""
    found = server.find(expr, every_s=every_s, newest_s=2, acted_s=200)
    assert found.holds is holds
    assert found.interval_s == pytest.approx(every_s, rel=0.25)


def test_samples_from_before_the_step_prove_nothing(server: Server) -> None:
    """They lag by 90 seconds, or their host died: the answer is the state before the step."""
    assert server.find("max(M) < bool 5", every_s=15, newest_s=90, acted_s=50).holds is None
    assert server.find("max(M) > bool 5", every_s=15, newest_s=90, acted_s=50).holds is None


def test_a_record_is_as_old_as_what_it_is_made_of(server: Server) -> None:
    """It is evaluated each second, on samples of 90 seconds ago."""
    now = time.time()
    at = np.arange(now - 240, now - 90, 15)
    with httpx.Client(trust_env=False) as client:
        series = f'lagging{{instance_id="{_HOST}"}}', f'lagging{{instance_id="{_OTHER}"}}'
        fresh = np.arange(now - 240, now, 15)
        write(client, server.url, [Series(series[0], at, at * 0 + 1)])
        write(client, server.url, [Series(series[1], fresh, fresh * 0 + 1)])
    with Prometheus(server.url) as prometheus:
        deadline = now + 20
        while not prometheus.instant_query("instance:lagging:max", at=time.time()):
            assert time.time() < deadline
            time.sleep(0.2)
        for host, holds in ((_HOST, None), (_OTHER, True)):
            expr = f'instance:lagging:max{{instance_id="{host}"}} < bool 5'
            found = ConditionReader(prometheus).find_since(expr, now - 60, time.time())
            assert found.holds is holds


def test_a_window_begins_after_the_step(server: Server) -> None:
    """Half of what this rate counts was before the step."""
    expr = "sum(rate(M[1m])) > bool 0"
    found = server.find(expr, every_s=5, newest_s=1, acted_s=30, per_s=1)
    assert found.holds is None
    assert found.needs_s >= 60
    assert server.find(expr, every_s=5, newest_s=1, acted_s=70, per_s=1).holds is True


@pytest.mark.parametrize(
    "expr", ["count(M == 1) > bool", "absent(missing)", "missing > bool 1", "@"]
)
def test_what_has_no_samples_is_unknown(server: Server, expr: str) -> None:
    assert server.find(expr, every_s=5, newest_s=1, acted_s=70).holds is None


def test_the_past_is_no_condition_on_the_present(server: Server) -> None:
    """`offset` names what was there before, as a replacement's verification does."""
    expr = "count(M unless on (instance_id) M offset 14m) > bool 0"
    assert server.find(expr, every_s=5, newest_s=1, acted_s=60).holds is True


def test_a_part_that_is_absent_may_be_so(server: Server) -> None:
    expr = "(min(M) == bool 1) * absent(missing > 0.7)"
    assert server.find(expr, every_s=5, newest_s=1, acted_s=60).holds is True


@pytest.mark.parametrize(
    ("alert", "since_s", "holds"),
    [("Ill", -60.0, True), ("Ill", 60.0, None), ("Removed", -60.0, None)],
)
def test_an_alert_that_nobody_evaluates_has_not_ended(
    server: Server, alert: str, since_s: float, *, holds: bool | None
) -> None:
    """`ALERTS` ends with the evaluation of its rule, too."""
    expr = f'(count(ALERTS{{alertname="{alert}"}}) or vector(0)) == bool 0'
    with Prometheus(server.url) as prometheus:
        now = time.time()
        while not any(rule.evaluated_at > now - 60 for rule in prometheus.alerting_rules()):
            assert time.time() < now + 20
            time.sleep(0.1)
        found = ConditionReader(prometheus).find_since(expr, now + since_s, time.time())
    assert found.holds is holds


def test_an_alert_that_its_rule_keeps_firing_is_no_fault(server: Server) -> None:
    """For `keep_firing_for` after the fault nobody can tell; then it is one."""
    expr = '(count(ALERTS{alertname="Kept",alertstate="firing"}) or vector(0)) == bool 0'

    def write_now(client: httpx.Client, value: float) -> None:
        at, values = np.array([time.time()]), np.array([value])
        write(client, server.url, [Series("kept_fault", at, values)])

    with httpx.Client(trust_env=False) as client, Prometheus(server.url) as prometheus:
        began = time.time()
        write_now(client, 9.0)
        while not prometheus.instant_query('ALERTS{alertname="Kept"}', at=time.time()):
            assert time.time() < began + 20
            time.sleep(0.2)
        write_now(client, 1.0)
        time.sleep(2.5)
        now = time.time()
        found = ConditionReader(prometheus).find_since(expr, now - 2.0, now)
        assert (found.holds, found.needs_s) == (None, 300.0)
        assert ConditionReader(prometheus).find_since(expr, now - 301, now).holds is False


def test_a_target_carries_its_share_of_its_siblings_load(server: Server) -> None:
    """It has half of what one of them has, by each scrape of 30 seconds."""
    now = time.time()
    at = now - np.arange(600, 0, -30.0)
    for host, per_s in ((_HOST, 500.0), (_OTHER, 1_000.0)):
        labels = f'{{device="eth0",instance_id="{host}",asg="web"}}'
        name = f"node_network_receive_bytes_total{labels}"
        with httpx.Client(trust_env=False) as client:
            write(client, server.url, [Series(name, at, (at - at[0]) * per_s)])
    with Prometheus(server.url) as prometheus:
        for share, holds in ((40, True), (60, False)):
            siblings = f'asg="web",instance_id!="{_HOST}"'
            expr = load_expr(f'instance_id="{_HOST}"', siblings, share)
            assert ConditionReader(prometheus).find_since(expr, now - 300, now).holds is holds


@pytest.mark.parametrize(
    ("expr", "wider"),
    [
        ("rate(a[20s])", "rate(a[75000ms])"),
        ("rate(a[5m])", "rate(a[5m])"),
        ('rate(a{b=~"[20s]"}[ 20s ])', 'rate(a{b=~"[20s]"}[75000ms])'),
        ("max_over_time(a[5m:10s])", "max_over_time(a[5m:10s])"),
    ],
)
def test_only_short_windows_become_longer(expr: str, wider: str) -> None:
    assert widen(expr, 30) == wider
