"""What a target depends on may be the cause: the file, the queries, and who is named."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

import httpx
import pytest

from receiver.evidence.dependencies.file import Dependencies, InvalidDependenciesError, load
from receiver.evidence.dependencies.reader import DependencyReader
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.target import Target
from tests import fake_prometheus

_NOW = 1_800_000_000.0
_EDGES = {"front": ["shop"], "shop": ["db"], "batch": ["db"]}
_USUAL = {"front": 0.3, "shop": 0.2, "db": 0.01}


@dataclass
class _Store:
    """A Prometheus in which each component is a little uneven, and as `latency` and `failed` now.

    Counters of failures that never counted have no series.
    """

    latency: dict[str, float] = field(default_factory=dict)
    failed: dict[str, float] = field(default_factory=dict)
    requests: dict[str, float] = field(
        default_factory=lambda: {"front": 10.0, "shop": 10.0, "db": 100.0}
    )
    since: float = 0.0
    down: bool = False
    queries: int = 0

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.queries += 1
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        if self.down:
            return httpx.Response(503, json={"status": "error", "error": "down"})
        if form["query"] == "edges":
            pairs = [(client, server) for client, all_ in _EDGES.items() for server in all_]
            result = [
                {"metric": {"client": client, "server": server}, "value": [_NOW, "1"]}
                for client, server in pairs
            ]
            data = {"resultType": "vector", "result": result}
            return httpx.Response(200, json={"status": "success", "data": data})
        start, end = float(form["start"]), float(form["end"])
        times = [start + 300 * step for step in range(int((end - start) // 300) + 1)]
        series = [
            {
                "metric": {"component": name},
                "values": [[at, repr(self._at(form["query"], name, at))] for at in times],
            }
            for name in ({} if form["query"] == "failures" and not self.failed else _USUAL)
            if times[-1] >= self.since
        ]
        data = {"resultType": "matrix", "result": series}
        return httpx.Response(200, json={"status": "success", "data": data})

    def _at(self, signal: str, name: str, at: float) -> float:
        if signal == "requests":
            return self.requests[name]
        if signal == "failures":
            return self.failed.get(name, 0.0) if at == _NOW else 0.0
        uneven = 1 + (at // 300 % 7) / 100
        return self.latency.get(name, _USUAL[name]) if at == _NOW else _USUAL[name] * uneven


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(3) as queries:
        yield queries


def _named(
    pool: ThreadPoolExecutor, store: _Store, labels: Mapping[str, str] | None = None
) -> list[str] | None:
    found = _reader(pool, store).read(Target(id="i-1", group="front"), labels or {}, _NOW)
    return None if found is None else [str(suspect) for suspect in found]


def _reader(pool: ThreadPoolExecutor, store: _Store, **more: str) -> DependencyReader:
    edges = {} if more else _EDGES
    dependencies = Dependencies(
        depends_on=edges, requests="requests", failures="failures", latency="latency", **more
    )
    client = fake_prometheus.client(store.answer, lambda: _NOW)
    prometheus = Prometheus(url="http://prometheus", client=client, clock=lambda: _NOW)
    return DependencyReader(dependencies=dependencies, prometheus=prometheus, pool=pool)


def test_the_deepest_that_explains_it_is_named_first(pool: ThreadPoolExecutor) -> None:
    """Half a second more at the front: a hundred slow reads of the database for ten requests."""
    store = _Store(latency={"front": 0.8, "shop": 0.7, "db": 0.06})
    assert _named(pool, store) == [
        "db explains all of the latency",
        "shop explains all of the latency",
    ]


def test_failures_without_a_series_before_are_failures(pool: ThreadPoolExecutor) -> None:
    store = _Store(failed={"front": 2.0, "shop": 2.0})
    assert _named(pool, store) == ["shop explains all of the failures"]


@pytest.mark.parametrize(
    "latency",
    [
        {},
        {"front": 0.8},
        # Too little to explain it, or within its usual range.
        {"front": 0.8, "db": 0.011},
        {"front": 2.0, "shop": 0.5},
        # It is unwell, but the target is not.
        {"db": 0.06},
    ],
)
def test_a_trouble_of_its_own_is_its_own(
    pool: ThreadPoolExecutor, latency: dict[str, float]
) -> None:
    assert _named(pool, _Store(latency=latency)) == []


def test_without_requests_or_a_past_nothing_is_said(pool: ThreadPoolExecutor) -> None:
    slow = {"front": 0.8, "shop": 0.7}
    quiet = _Store(latency=slow, requests={"front": 10.0, "shop": 0.0, "db": 0.0})
    assert _named(pool, quiet) == []
    assert _named(pool, _Store(latency=slow, since=_NOW)) == []


def test_who_depends_on_nothing_asks_nothing(pool: ThreadPoolExecutor) -> None:
    store = _Store()
    assert _named(pool, store, {"service": "elsewhere"}) == []
    assert store.queries == 0


def test_edges_come_from_traces_too(pool: ThreadPoolExecutor) -> None:
    store = _Store(failed={"front": 2.0, "shop": 2.0})
    found = _reader(pool, store, edges="edges").read(Target(group="front"), {}, _NOW)
    assert found is not None
    assert [suspect.component for suspect in found] == ["shop"]


def test_the_past_is_read_once(pool: ThreadPoolExecutor) -> None:
    store = _Store()
    reader = _reader(pool, store)
    for _ in range(3):
        reader.read(Target(group="front"), {}, _NOW)
    assert store.queries == 3 + 3 * 3


def test_what_cannot_be_read_is_unknown(pool: ThreadPoolExecutor) -> None:
    assert _named(pool, _Store(down=True)) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("requests: a", "depends_on or edges is needed"),
        ("requests: a\nedges: b", "failures or latency is needed"),
        ("requests: a\nedges: b\nlatency: c\nfoo: 1", "foo"),
        ("edges: b\nlatency: c", "requests"),
        ("requests: [", "dependencies.yaml:1"),
    ],
)
def test_a_fault_of_the_file_is_told(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "dependencies.yaml"
    file.write_text(text)
    with pytest.raises(InvalidDependenciesError) as error:
        load(file)
    assert told in str(error.value)
