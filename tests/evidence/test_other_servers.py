"""A runaway process is judged the same through other servers, exporters and intervals."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from urllib.parse import parse_qs, urlencode

import httpx
import numpy as np
import pytest

from actions.base import TargetKind
from bench.scenes.backfill import make_setting, series_of
from bench.scenes.building import since
from bench.scenes.remote_write import Series, write
from bench.scenes.scenarios import build_scenes
from bench.scenes.scene import DAY_S
from bench.scenes.shop import Naming, Shop
from demo.stack import servers
from demo.stack.processes import Processes
from models.inference.artifact import load_shipped
from models.inference.detector import judge
from models.inference.verdict import Answer
from receiver.evidence.metrics_query import MetricsReader
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.roles.loader import load as load_roles
from receiver.evidence.target import Target

_ROLES = Path(__file__).parents[2] / "roles.d"
_OTEL = next(one for one in load_roles(_ROLES) if one.name == "opentelemetry")
_numbers = count()
# By node_exporter's name: OpenTelemetry's, and the labels that it has.
_AS_OTEL = {
    "node_load1": ("system_cpu_load_average_1m", ""),
    "node_load5": ("system_cpu_load_average_5m", ""),
    "node_disk_read_bytes_total": ("system_disk_io_bytes_total", 'direction="read"'),
    "node_disk_written_bytes_total": ("system_disk_io_bytes_total", 'direction="write"'),
    "node_disk_io_time_seconds_total": ("system_disk_io_time_seconds_total", ""),
    "node_network_receive_bytes_total": ("system_network_io_bytes_total", 'direction="receive"'),
    "node_network_transmit_bytes_total": ("system_network_io_bytes_total", 'direction="transmit"'),
    "node_netstat_Tcp_CurrEstab": (
        "system_network_connections",
        'protocol="tcp",state="ESTABLISHED"',
    ),
}


@pytest.fixture(scope="module", params=["prometheus", "victoria-metrics"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of Debian 13: Prometheus 2.53, which puts annotations among the warnings; VictoriaMetrics."""
    folder = tmp_path_factory.mktemp(request.param)
    program = servers.programs("trixie") / request.param
    (folder / "prometheus.yml").write_text("{}")

    def serve(port: int) -> Sequence[str | Path]:
        if request.param == "victoria-metrics":
            options = [f"-httpListenAddr=127.0.0.1:{port}", "-retentionPeriod=30d"]
            return (program, *options, f"-storageDataPath={folder / 'data'}")
        return (
            program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--storage.tsdb.retention.time=30d",
            # The head takes samples that are up to half of its first block old.
            "--storage.tsdb.min-block-duration=30d",
            "--storage.tsdb.max-block-duration=30d",
            "--web.enable-remote-write-receiver",
            f"--web.listen-address=127.0.0.1:{port}",
        )

    ready = "/health" if request.param == "victoria-metrics" else "/-/ready"
    with Processes(folder / "logs") as processes:
        yield processes.start_on_port(request.param, serve, ready=ready)[1]


@dataclass(frozen=True)
class _Fault:
    """A host of six whose CPU a process takes, as a server stores it; `now` is in epoch seconds."""

    url: str
    target: Target
    now: float

    def answer(self, at: float, transport: httpx.BaseTransport | None = None) -> Answer:
        client = httpx.Client(transport=transport, trust_env=False)
        with Prometheus(self.url, client=client) as prometheus, ThreadPoolExecutor(5) as pool:
            reader = MetricsReader(prometheus=prometheus, pool=pool)
            evidence = reader.gather(self.target, at, {"cpu_busy"})
        assert evidence.problems == ()
        return judge(load_shipped(), evidence, {"cpu_busy"}).answer


def _broken(
    url: str,
    *,
    every_s: float = 5.0,
    age_s: float = 0.0,
    fault_s: float = 240.0,
    renamed: Callable[[Sequence[Series]], Sequence[Series]] = lambda series: series,
) -> _Fault:
    """A fault of `fault_s`; samples come every `every_s`, the newest one is `age_s` old."""
    now = float(int(time.time()))
    finest = now - age_s - np.arange(0, 900, every_s)[::-1]
    fine = np.arange(now - 7_200, finest[0], max(15.0, every_s))
    at = np.concatenate([np.arange(now - 7 * DAY_S, now - 7_200, 300.0), fine, finest])
    setting = replace(make_setting(now, 1), at=at)
    (scene,) = build_scenes(setting, 1, "runaway process")
    scene.shop = Shop(interval_s=every_s, offset_s=0, naming=Naming.OWN)
    scene.members[0].forces["runaway"] = 0.95 * since(setting, fault_s)
    own = f"i-{next(_numbers):08x}"
    hosts = {one.host.instance_id: f"{own}{place:09x}" for place, one in enumerate(scene.members)}
    named = [replace(one, name=_as(one.name, hosts, own)) for one in series_of(scene, setting)]
    with httpx.Client(trust_env=False, timeout=30) as client:
        write(client, url, renamed(named))
    target = Target(
        id=hosts[scene.members[0].host.instance_id], kind=TargetKind.INSTANCE, group=own
    )
    _wait_until_stored(url, target.selector)
    return _Fault(url, target, now)


def _as(name: str, hosts: dict[str, str], group: str) -> str:
    name = re.sub(r'asg="[^"]*"', f'asg="{group}"', name)
    for old, new in hosts.items():
        name = name.replace(f'"{old}"', f'"{new}"')
    return name


def _wait_until_stored(url: str, selector: str) -> None:
    """VictoriaMetrics shows what was written a second later."""
    until = time.monotonic() + 20
    with Prometheus(url) as prometheus:
        while not prometheus.instant_query(f"count({{{selector}}})", at=time.time() - 300):
            assert time.monotonic() < until
            time.sleep(0.2)
    time.sleep(1.5)


@pytest.mark.parametrize("every_s", [5.0, 15.0, 30.0, 60.0])
def test_each_interval_has_the_same_verdict(url: str, every_s: float) -> None:
    fault = _broken(url, every_s=every_s)
    assert fault.answer(fault.now) is Answer.CONFIRMED


def test_a_fault_of_the_last_seconds_is_seen(url: str) -> None:
    """VictoriaMetrics would hide the newest half minute, and so refute."""
    fault = _broken(url, fault_s=25.0)
    assert fault.answer(fault.now) is Answer.CONFIRMED


def test_samples_that_come_late_have_the_same_verdict(url: str) -> None:
    fault = _broken(url, every_s=15.0, age_s=20.0)
    assert fault.answer(fault.now) is Answer.CONFIRMED


class _Aligning(httpx.HTTPTransport):
    """A frontend that moves start and end to whole steps, as Thanos' does."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        if "step" in form:
            step = float(form["step"])
            for name in ("start", "end"):
                form[name] = f"{float(form[name]) // step * step:.3f}"
        body = urlencode(form).encode()
        headers = {**request.headers, "Content-Length": str(len(body))}
        return super().handle_request(
            httpx.Request("POST", request.url, headers=headers, content=body)
        )


def test_a_frontend_that_aligns_steps_has_the_same_verdict(url: str) -> None:
    """Wherever on its grid the alert comes."""
    fault = _broken(url)
    answers = [fault.answer(fault.now - ago, _Aligning()) for ago in range(0, 30, 4)]
    assert answers == [Answer.CONFIRMED] * len(answers)


def _otel(series: Sequence[Series]) -> Sequence[Series]:
    """What OpenTelemetry's collector would have stored of the same hosts."""
    by_name = {one.name: one for one in series}
    return [new for one in series for new in _renamed(one, by_name)]


def _renamed(series: Series, others: dict[str, Series]) -> Iterator[Series]:
    metric, _, labels = series.name.removesuffix("}").partition("{")

    def named(name: str, own: str) -> str:
        return f"{name}{{{','.join(filter(None, (own, labels)))}}}"

    if metric == "node_cpu_seconds_total":
        labels = labels.replace("iowait", "wait").replace("mode=", "state=")
        yield replace(series, name=named("system_cpu_time_seconds_total", ""))
    elif metric == "node_memory_MemTotal_bytes":
        free = others[series.name.replace("MemTotal", "MemAvailable")]
        name = named("system_memory_usage_bytes", 'state="used"')
        yield Series(name, free.at, series.values[-len(free.values) :] - free.values)
    elif metric == "node_filesystem_avail_bytes":
        size = others[series.name.replace("avail", "size")]
        name = "system_filesystem_usage_bytes"
        yield replace(series, name=named(name, 'state="free"'))
        yield Series(named(name, 'state="used"'), size.at, size.values - series.values)
    elif metric in _AS_OTEL:
        yield replace(series, name=named(*_AS_OTEL[metric]))
    elif not metric.startswith("node_"):
        yield series


def test_opentelemetrys_names_have_the_same_verdict(url: str) -> None:
    fault = _broken(url, every_s=15.0, renamed=_otel)
    other = replace(fault, target=replace(fault.target, exporter=_OTEL))
    assert other.answer(fault.now) is Answer.CONFIRMED
    assert fault.answer(fault.now) is Answer.UNDECIDED
