"""Gathering evidence: what is asked, what is kept, and what becomes of missing answers."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs

import httpx
import pytest

from models.features.evidence import Series
from models.features.signals import ROLES
from receiver.evidence.metrics_query import MetricsReader
from receiver.evidence.prometheus import Prometheus
from receiver.evidence.promql_condition import holds
from receiver.evidence.target import Target

AT = 1_760_000_123.4
NOW = 1_760_000_123.0
TARGET = "i-0123456789abcdef0"
SIBLING = "i-0123456789abcdef1"
WEB = Target(id=TARGET, group="web-asg")
Form = dict[str, str]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


def prometheus(answer: Callable[[Form], object]) -> Prometheus:
    """A server whose answers are results (`matrix` or `vector` by the call) or responses."""

    def respond(request: httpx.Request) -> httpx.Response:
        form = {key: value[0] for key, value in parse_qs(request.content.decode()).items()}
        result = answer(form)
        if isinstance(result, httpx.Response):
            return result
        kind = "matrix" if request.url.path.endswith("query_range") else "vector"
        data = {"resultType": kind, "result": result}
        return httpx.Response(200, json={"status": "success", "data": data})

    return Prometheus("http://p", client=httpx.Client(transport=httpx.MockTransport(respond)))


def part_of(form: Form) -> str:
    """Which question this is, told by its window and resolution."""
    if "instance_id!=" in form["query"]:
        return "peers"
    if form["step"] == "300" and float(form["end"]) < AT - 86_400:
        return "older"
    return {"300": "history", "15": "recent", "5": "latest"}[form["step"]]


def cpu(instance_id: str, *samples: tuple[float, str]) -> dict[str, object]:
    labels = {"role": "cpu_busy", "instance_id": instance_id}
    return {"metric": labels, "values": [list(sample) for sample in samples]}


def answers(form: Form) -> list[dict[str, object]]:
    end = float(form["end"])
    if part_of(form) == "older":
        return []
    owner = SIBLING if part_of(form) == "peers" else TARGET
    return [cpu(owner, (end - 5, "0.2"), (end, "0.3"))]


def test_gathers_past_present_and_siblings(pool: ThreadPoolExecutor) -> None:
    """Each part by role, the recent past with its fine end, the siblings by instance."""
    found = MetricsReader(prometheus=prometheus(answers), pool=pool).gather(WEB, AT)
    assert found.problems == ()
    assert found.target == TARGET
    last = AT // 300 * 300
    assert found.history == {"cpu_busy": Series((last - 5, last), (0.2, 0.3))}
    assert found.recent is not None
    assert tuple(found.recent["cpu_busy"].times) == (NOW - 125, NOW - 120, NOW - 5, NOW)
    assert found.peers is not None
    assert list(found.peers) == [SIBLING]
    assert tuple(found.peers[SIBLING]["cpu_busy"].values) == (0.2, 0.3)


def test_asks_few_questions_about_all_roles_up_to_the_moment(pool: ThreadPoolExecutor) -> None:
    """Five queries, none beyond the alert's re-check: a week of every role, two of a few."""
    asked: dict[str, Form] = {}

    def answer(form: Form) -> object:
        asked[part_of(form)] = form
        return []

    reader = MetricsReader(prometheus=prometheus(answer), pool=pool)
    reader.gather(WEB, AT, ["filesystem_used"])
    assert set(asked) == {"older", "history", "recent", "latest", "peers"}
    for part in ("history", "recent", "latest"):
        assert all(f'"role", "{role}"' in asked[part]["query"] for role in ROLES)
    for part in ("older", "peers"):
        assert '"role", "filesystem_used"' in asked[part]["query"]
    for part in ("history", "recent", "latest", "peers"):
        assert NOW - 300 < float(asked[part]["end"]) <= AT
    older, week = asked["older"], float(asked["history"]["start"])
    assert float(older["start"]) == pytest.approx(AT - 15 * 86_400, abs=300)
    assert float(older["end"]) == week - 300
    assert float(asked["history"]["start"]) == pytest.approx(AT - 7 * 86_400, abs=300)
    assert float(asked["latest"]["end"]) == NOW
    assert 'asg="web-asg"' in asked["peers"]["query"]
    assert f'instance_id!="{TARGET}"' in asked["peers"]["query"]


@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.4375, 0.9996])
def test_last_step_of_a_question_is_the_present(pool: ThreadPoolExecutor, fraction: float) -> None:
    """Whole steps from start to end in whole seconds: no rounding on the way loses the last one."""
    asked: dict[str, Form] = {}

    def answer(form: Form) -> object:
        asked[part_of(form)] = form
        return []

    MetricsReader(prometheus=prometheus(answer), pool=pool).gather(WEB, NOW + fraction)
    for form in asked.values():
        start, end, step = (float(form[key]) for key in ("start", "end", "step"))
        assert start.is_integer()
        assert end.is_integer()
        assert (end - start) % step == 0
    assert float(asked["peers"]["end"]) == NOW


def test_keeps_nothing_after_the_moment(pool: ThreadPoolExecutor) -> None:
    """A server that answers beyond what it was asked does not leak the future."""

    def answer(_: Form) -> object:
        return [cpu(TARGET, (AT - 60, "0.1"), (AT + 0.5, "0.9"), (AT + 600, "0.9"))]

    found = MetricsReader(prometheus=prometheus(answer), pool=pool).gather(WEB, AT)
    parts = [found.history, found.recent, (found.peers or {})[TARGET]]
    for part in parts:
        assert part is not None
        assert max(part["cpu_busy"].times) == AT - 60


@pytest.mark.parametrize(
    ("broken", "lost"),
    [
        ({"history"}, {"history"}),
        ({"recent"}, {"recent"}),
        ({"latest"}, {"recent"}),
        ({"peers"}, {"peers"}),
        ({"history", "recent", "latest", "peers"}, {"history", "recent", "peers"}),
    ],
)
def test_failed_question_costs_only_its_part(
    pool: ThreadPoolExecutor, broken: set[str], lost: set[str]
) -> None:
    """What was answered is kept, what was not is None, and a line says why."""

    def answer(form: Form) -> object:
        return httpx.Response(503) if part_of(form) in broken else answers(form)

    found = MetricsReader(prometheus=prometheus(answer), pool=pool).gather(WEB, AT)
    parts = {"history": found.history, "recent": found.recent, "peers": found.peers}
    assert {name for name, part in parts.items() if part is None} == lost
    assert sorted(found.problems) == [f"{name}: Prometheus answered 503" for name in sorted(broken)]


def test_answered_with_nothing_is_not_unanswered(pool: ThreadPoolExecutor) -> None:
    """A target that Prometheus has never seen: empty, without a problem."""
    found = MetricsReader(prometheus=prometheus(lambda _: []), pool=pool).gather(WEB, AT)
    assert (found.history, found.recent, found.peers, found.problems) == ({}, {}, {}, ())


def test_slow_server_is_given_up_at_the_deadline(pool: ThreadPoolExecutor) -> None:
    """One question that hangs costs its own part and no more than the deadline."""
    release = threading.Event()

    def answer(form: Form) -> object:
        if part_of(form) == "history":
            release.wait(30)
        return answers(form)

    server = prometheus(answer)
    found = MetricsReader(prometheus=server, pool=pool, deadline_s=0.3).gather(WEB, AT)
    release.set()
    assert found.history is None
    assert found.recent is not None
    assert found.problems == ("history: no answer within 0.3 s",)


def test_stopped_pool_is_a_problem_not_an_exception() -> None:
    """While the service stops nothing more is asked."""
    stopped = ThreadPoolExecutor(1)
    stopped.shutdown()
    found = MetricsReader(prometheus=prometheus(answers), pool=stopped).gather(WEB, AT)
    assert (found.history, found.recent, found.peers) == (None, None, None)
    assert len(found.problems) == 5


@pytest.mark.parametrize(
    "target", ["", "web-asg", "i-xyz", 'i-0123456789abcdef0"} or up{a="', "i-0123456789abcdef0\n"]
)
def test_target_that_is_no_instance_id_reaches_no_query(
    pool: ThreadPoolExecutor, target: str
) -> None:
    """Hostile label text never becomes PromQL."""
    asked: list[Form] = []

    def answer(form: Form) -> object:
        asked.append(form)
        return []

    server = prometheus(answer)
    found = MetricsReader(prometheus=server, pool=pool).gather(
        Target(id=target, group="web-asg"), AT
    )
    assert asked == []
    assert found.history is None
    assert len(found.problems) == 1


@pytest.mark.parametrize("group", [None, "", 'a"} or up{b="', "a\\", "x" * 256])
def test_unusable_group_costs_only_the_siblings(
    pool: ThreadPoolExecutor, group: str | None
) -> None:
    """The target's own past and present are still asked for."""
    found = MetricsReader(prometheus=prometheus(answers), pool=pool).gather(
        Target(id=TARGET, group=group), AT
    )
    assert found.peers is None
    assert found.history is not None
    assert len(found.problems) == 1
    assert found.problems[0].startswith("peers: ")


@pytest.mark.parametrize(
    ("values", "expected"),
    [(["1"], True), (["0"], False), (["1", "0"], False), ([], None), (["NaN"], None)],
)
def test_condition_holds_fails_or_is_unknown(values: list[str], expected: bool | None) -> None:  # noqa: FBT001 - a table of answers
    """No data is not recovery, and every sample has to agree."""
    vector = [{"metric": {"n": str(n)}, "value": [AT, v]} for n, v in enumerate(values)]
    assert holds(prometheus(lambda _: vector), "x < bool 1", AT) is expected


def test_condition_without_an_answer_is_unknown() -> None:
    """A server that is down says neither yes nor no."""
    assert holds(prometheus(lambda _: httpx.Response(503)), "x", AT) is None
