"""What is pending has its past read ahead, and the evidence is the same as without."""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from receiver.evidence.metrics_query import Past, gather, past_of
from receiver.evidence.prefetch import Pasts
from receiver.playbooks.loader import Playbooks
from receiver.playbooks.schema import Playbook
from tests.conftest import Clock
from tests.evidence.test_metrics_query import (
    AT,
    NOW,
    TARGET,
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
        self.pending, self.asked = pending, list[str]()
        self.down = False
        self.prometheus = prometheus(self._answer)

    def _answer(self, form: Form) -> object:
        if self.down:
            return httpx.Response(503)
        if form["query"].startswith("ALERTS"):
            return [{"metric": one, "value": [NOW, "1"]} for one in self.pending]
        self.asked.append(part_of(form))
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
    said = {"name": name, "match": [f'alertname="{alertname}"'], **more}
    return Playbook.model_validate(said | {"steps": [{"action": "reboot_instance"}]})


def _pasts(
    server: Server, pool: ThreadPoolExecutor, clock: Clock, heard: list[str] | None = None
) -> Pasts:
    books = [
        _playbook("cpu", "HighCPU"),
        _playbook("own", "Own", recheck=["up"]),
        _playbook("twice", "Twice"),
        _playbook("again", "Twice"),
    ]
    return Pasts(
        server.prometheus,
        Playbooks(books),
        pool,
        clock,
        lambda names, _: heard.extend(names) if heard is not None else None,
    )


def test_the_evidence_is_the_same_and_only_the_present_is_asked_for(
    pool: ThreadPoolExecutor,
) -> None:
    """Whatever whole seconds lie between; the end is the present, and no sample is there twice."""
    server = Server()
    for later in (0, 1, 7, 12.5, 44):
        known = past_of(server.prometheus, target=TARGET, at=AT, pool=pool)
        server.asked.clear()
        at = AT + later

        def gathered(past: Past | None, at: float = at) -> dict[str, object]:
            found = gather(
                server.prometheus, target=TARGET, group="web-asg", at=at, pool=pool, past=past
            )
            assert found.recent is not None
            times = list(found.recent["cpu_busy"].times)
            assert times == sorted(set(times))
            assert times[-1] == at // 1
            assert max(b - a for a, b in itertools.pairwise(times)) <= 15
            return {"history": found.history, "peers": found.peers, "problems": found.problems}

        ahead = gathered(known)
        assert sorted(server.asked) == ["latest", "peers"]
        assert ahead == gathered(None)


@pytest.mark.parametrize(
    ("later", "roles"), [(46.0, ()), (-1.0, ()), (300.0, ()), (1.0, ("filesystem_used",))]
)
def test_a_past_that_does_not_serve_is_read_anew(
    pool: ThreadPoolExecutor, later: float, roles: tuple[str, ...]
) -> None:
    """Too old, of a moment to come, of another week, or without what the alert is about."""
    server = Server()
    known = past_of(server.prometheus, target=TARGET, at=AT, pool=pool)
    server.asked.clear()
    gather(
        server.prometheus,
        target=TARGET,
        group="web-asg",
        at=AT + later,
        pool=pool,
        roles=roles,
        past=known,
    )
    assert set(server.asked) == {"older", "history", "recent", "latest", "peers"}


def test_what_is_pending_is_read_ahead(pool: ThreadPoolExecutor, clock: Clock) -> None:
    """Where one playbook asks the model; the week is read once for as long as it is the same."""
    clock.now = AT
    mine = _alert() | {"asg": "web-asg"}
    server = Server(mine, _alert(_OTHER, "Own"), _alert(_OTHER, "Twice"), _alert("nonsense"))
    heard: list[str] = []
    pasts = _pasts(server, pool, clock, heard)
    pasts.look()
    assert heard == [TARGET, "web-asg", "nonsense"]
    assert (pasts.of(_OTHER), pasts.of("nonsense")) == (None, None)
    first = pasts.of(TARGET)
    assert first is not None
    assert first.serves(AT + 10, ["cpu_busy"])
    assert sorted(server.asked) == ["history", "older", "recent"]
    clock.now += 5
    pasts.look()
    assert pasts.of(TARGET) is first
    clock.now += 20
    pasts.look()
    assert sorted(server.asked) == ["history", "older", "recent", "recent"]
    again = pasts.of(TARGET)
    assert again is not None
    assert again.serves(clock.now + 40, ["cpu_busy"])
    server.pending = ()
    clock.now += 301
    pasts.look()
    assert pasts.of(TARGET) is None


def test_the_week_is_read_anew_as_soon_as_it_is_another_one(
    pool: ThreadPoolExecutor, clock: Clock
) -> None:
    """Else what fires right after that would wait for it."""
    clock.now = (AT // 300 + 1) * 300 - 3
    server = Server(_alert() | {"asg": "web-asg"})
    pasts = _pasts(server, pool, clock)
    pasts.look()
    clock.now += 4
    pasts.look()
    again = pasts.of(TARGET)
    assert again is not None
    assert again.serves(clock.now, ["cpu_busy"])


def test_a_storm_is_not_read_ahead(pool: ThreadPoolExecutor, clock: Clock) -> None:
    """Then nobody acts on a single machine, and Prometheus has enough to do."""
    clock.now = AT
    server = Server(*(_alert(f"i-{number:017x}") for number in range(17)))
    _pasts(server, pool, clock).look()
    assert server.asked == []


def test_without_an_answer_nothing_is_known(pool: ThreadPoolExecutor, clock: Clock) -> None:
    """Neither what is pending nor what has been; the next look may do better."""
    clock.now = AT
    server = Server(_alert())
    pasts = _pasts(server, pool, clock)
    server.down = True
    pasts.look()
    assert pasts.of(TARGET) is None
    server.down = False
    pasts.look()
    assert pasts.of(TARGET) is not None
