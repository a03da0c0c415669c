"""What is pending has its past read ahead, and the evidence is the same as without."""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx
import pytest
from pydantic import HttpUrl

from receiver.evidence.metrics_query import MetricsReader, PastMetrics
from receiver.evidence.prefetch import Prefetcher
from receiver.monitoring.servers import Server as ServerSettings
from receiver.playbooks.loader import Playbooks
from receiver.playbooks.schema import Playbook
from tests.conftest import Clock
from tests.evidence.test_metrics_query import (
    AT,
    NOW,
    TARGET,
    WEB,
    Form,
    answers,
    cpu,
    part_of,
    prometheus,
)

_OTHER = "i-0123456789abcdef9"


class Server:
    """Answers as ever, knows what is pending, and keeps what it was asked for."""

    def __init__(self, *pending: dict[str, str]) -> None:
        self.pending, self.queries = pending, list[str]()
        self.down = False
        self.prometheus = prometheus(self._answer)

    def _answer(self, form: Form) -> object:
        if self.down:
            return httpx.Response(503)
        if form["query"].startswith("ALERTS"):
            return [{"metric": labels, "value": [NOW, "1"]} for labels in self.pending]
        self.queries.append(part_of(form))
        start, end, step = (int(float(form[key])) for key in ("start", "end", "step"))
        if part_of(form) in {"recent", "latest"}:
            return [cpu(TARGET, *((at, f"0.{at % 7}") for at in range(start, end + 1, step)))]
        return answers(form)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


def _alert(instance_id: str = TARGET, alertname: str = "HighCPU") -> dict[str, str]:
    return {"__name__": "ALERTS", "alertname": alertname, "instance_id": instance_id}


def _playbook(name: str, alertname: str, **more: object) -> Playbook:
    fields = {"name": name, "match": [f'alertname="{alertname}"'], **more}
    return Playbook.model_validate(fields | {"steps": [{"action": "reboot_instance"}]})


def _prefetcher(
    server: Server, pool: ThreadPoolExecutor, clock: Clock, prefetched: list[str] | None = None
) -> Prefetcher:
    books = [
        _playbook("cpu", "HighCPU"),
        _playbook("own", "Own", recheck=["up"]),
        _playbook("twice", "Twice"),
        _playbook("again", "Twice"),
    ]
    return Prefetcher(
        reader=_reader(server, pool),
        playbooks=Playbooks(books),
        clock=clock,
        prefetch_aws=lambda names, *_: None if prefetched is None else prefetched.extend(names),
    )


def _reader(
    server: Server, pool: ThreadPoolExecutor, past: PastMetrics | None = None
) -> MetricsReader:
    return MetricsReader(prometheus=server.prometheus, pool=pool, prefetched=lambda _: past)


def test_the_evidence_is_the_same_and_only_the_present_is_asked_for(
    pool: ThreadPoolExecutor,
) -> None:
    """Whatever whole seconds lie between; the end is the present, and no sample is there twice."""
    server = Server()
    for later in (0, 1, 7, 12.5, 44):
        prefetched = _reader(server, pool).read_past(TARGET, AT)
        server.queries.clear()
        at = AT + later

        def gathered(past: PastMetrics | None, at: float = at) -> dict[str, object]:
            evidence = _reader(server, pool, past).gather(WEB, at)
            assert evidence.recent is not None
            times = list(evidence.recent["cpu_busy"].times)
            assert times == sorted(set(times))
            assert times[-1] == at // 1
            assert max(b - a for a, b in itertools.pairwise(times)) <= 15
            problems = evidence.problems
            return {"history": evidence.history, "peers": evidence.peers, "problems": problems}

        completed = gathered(prefetched)
        assert sorted(server.queries) == ["latest", "peers"]
        assert completed == gathered(None)


@pytest.mark.parametrize(
    ("later", "roles"), [(46.0, ()), (-1.0, ()), (300.0, ()), (1.0, ("filesystem_used",))]
)
def test_a_past_that_does_not_serve_is_read_anew(
    pool: ThreadPoolExecutor, later: float, roles: tuple[str, ...]
) -> None:
    """Too old, of a moment to come, of another week, or without what the alert is about."""
    server = Server()
    past = _reader(server, pool).read_past(TARGET, AT)
    server.queries.clear()
    _reader(server, pool, past).gather(WEB, AT + later, roles)
    assert set(server.queries) == {"older", "history", "recent", "latest", "peers"}


def test_what_is_pending_is_read_ahead(pool: ThreadPoolExecutor, clock: Clock) -> None:
    """Where one playbook asks the model; the week is read once for as long as it is the same."""
    clock.now = AT
    alert = _alert() | {"asg": "web-asg"}
    server = Server(alert, _alert(_OTHER, "Own"), _alert(_OTHER, "Twice"), _alert("nonsense"))
    prefetched: list[str] = []
    prefetcher = _prefetcher(server, pool, clock, prefetched)
    prefetcher.read_pending()
    assert prefetched == [TARGET, "web-asg", "nonsense"]
    assert (prefetcher.get(_OTHER), prefetcher.get("nonsense")) == (None, None)
    first = prefetcher.get(TARGET)
    assert first is not None
    assert first.serves(AT + 10, ["cpu_busy"])
    assert sorted(server.queries) == ["history", "older", "recent"]
    clock.now += 5
    prefetcher.read_pending()
    assert prefetcher.get(TARGET) is first
    clock.now += 20
    prefetcher.read_pending()
    assert sorted(server.queries) == ["history", "older", "recent", "recent"]
    again = prefetcher.get(TARGET)
    assert again is not None
    assert again.serves(clock.now + 40, ["cpu_busy"])
    server.pending = ()
    clock.now += 301
    prefetcher.read_pending()
    assert prefetcher.get(TARGET) is None


def test_the_week_is_read_anew_as_soon_as_it_is_another_one(
    pool: ThreadPoolExecutor, clock: Clock
) -> None:
    """Else what fires right after that would wait for it."""
    clock.now = (AT // 300 + 1) * 300 - 3
    server = Server(_alert() | {"asg": "web-asg"})
    prefetcher = _prefetcher(server, pool, clock)
    prefetcher.read_pending()
    clock.now += 4
    prefetcher.read_pending()
    again = prefetcher.get(TARGET)
    assert again is not None
    assert again.serves(clock.now, ["cpu_busy"])


def test_a_storm_is_not_read_ahead(pool: ThreadPoolExecutor, clock: Clock) -> None:
    """Then nobody acts on a single machine, and Prometheus has enough to do."""
    clock.now = AT
    server = Server(*(_alert(f"i-{number:017x}") for number in range(17)))
    _prefetcher(server, pool, clock).read_pending()
    assert server.queries == []


def test_without_an_answer_nothing_is_known(pool: ThreadPoolExecutor, clock: Clock) -> None:
    """Neither what is pending nor what has been; the next look may do better."""
    clock.now = AT
    server = Server(_alert())
    prefetcher = _prefetcher(server, pool, clock)
    server.down = True
    prefetcher.read_pending()
    assert prefetcher.get(TARGET) is None
    server.down = False
    prefetcher.read_pending()
    assert prefetcher.get(TARGET) is not None


def test_each_prometheus_is_asked_for_what_is_pending(
    pool: ThreadPoolExecutor, clock: Clock
) -> None:
    """And the past is read where the alert is."""
    first, last = Server(_alert()), Server()
    known = ServerSettings(url=HttpUrl("http://first"), match=())
    both = replace(last.prometheus, others=[(known, first.prometheus)])
    prefetcher = _prefetcher(last, pool, clock)
    prefetcher.reader = replace(prefetcher.reader, prometheus=both)
    clock.now = AT
    prefetcher.read_pending()
    assert prefetcher.get(TARGET) is not None
    assert "history" in first.queries
    assert last.queries == []
