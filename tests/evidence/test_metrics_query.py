"""Gathering evidence: what is queries, what is kept, and what becomes of missing answers."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import parse_qs

import httpx
import pytest

from models.features.evidence import Series
from models.features.signals import ROLES
from receiver.evidence.metrics_query import MetricsReader
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.prometheus.condition import holds
from receiver.evidence.target import Target
from tests import fake_prometheus

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

    return Prometheus("http://p", client=fake_prometheus.client(respond))


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
    evidence = MetricsReader(prometheus=prometheus(answers), pool=pool).gather(WEB, AT)
    assert evidence.problems == ()
    assert evidence.target == TARGET
    last = AT // 300 * 300
    assert evidence.history == {"cpu_busy": Series((last - 5, last), (0.2, 0.3))}
    assert evidence.recent is not None
    assert tuple(evidence.recent["cpu_busy"].times) == (NOW - 125, NOW - 120, NOW - 5, NOW)
    assert evidence.peers is not None
    assert list(evidence.peers) == [SIBLING]
    assert tuple(evidence.peers[SIBLING]["cpu_busy"].values) == (0.2, 0.3)


def test_asks_few_questions_about_all_roles_up_to_the_moment(pool: ThreadPoolExecutor) -> None:
    """Five queries, none beyond the alert's re-check: a week of every role, two of a few."""
    queries: dict[str, Form] = {}

    def answer(form: Form) -> object:
        queries[part_of(form)] = form
        return []

    reader = MetricsReader(prometheus=prometheus(answer), pool=pool)
    reader.gather(WEB, AT, ["filesystem_used"])
    assert set(queries) == {"older", "history", "recent", "latest", "peers"}
    for part in ("history", "recent", "latest"):
        assert all(f'"role", "{role}"' in queries[part]["query"] for role in ROLES)
    for part in ("older", "peers"):
        assert '"role", "filesystem_used"' in queries[part]["query"]
    for part in ("history", "recent", "latest", "peers"):
        assert NOW - 300 < float(queries[part]["end"]) <= AT
    older, week = queries["older"], float(queries["history"]["start"])
    assert float(older["start"]) == pytest.approx(AT - 15 * 86_400, abs=300)
    assert float(older["end"]) == week - 300
    assert float(queries["history"]["start"]) == pytest.approx(AT - 7 * 86_400, abs=300)
    assert float(queries["latest"]["end"]) == NOW
    assert 'asg="web-asg"' in queries["peers"]["query"]
    assert f'instance_id!="{TARGET}"' in queries["peers"]["query"]


@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.4375, 0.9996])
def test_last_step_of_a_question_is_the_present(pool: ThreadPoolExecutor, fraction: float) -> None:
    """Whole steps from start to end in whole seconds: no rounding on the way loses the last one."""
    queries: dict[str, Form] = {}

    def answer(form: Form) -> object:
        queries[part_of(form)] = form
        return []

    MetricsReader(prometheus=prometheus(answer), pool=pool).gather(WEB, NOW + fraction)
    for form in queries.values():
        start, end, step = (float(form[key]) for key in ("start", "end", "step"))
        assert start.is_integer()
        assert end.is_integer()
        assert (end - start) % step == 0
    assert float(queries["peers"]["end"]) == NOW


def test_keeps_nothing_after_the_moment(pool: ThreadPoolExecutor) -> None:
    """A server that answers beyond what it was queries does not leak the future."""

    def answer(_: Form) -> object:
        return [cpu(TARGET, (AT - 60, "0.1"), (AT + 0.5, "0.9"), (AT + 600, "0.9"))]

    evidence = MetricsReader(prometheus=prometheus(answer), pool=pool).gather(WEB, AT)
    parts = [evidence.history, evidence.recent, (evidence.peers or {})[TARGET]]
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

    evidence = MetricsReader(prometheus=prometheus(answer), pool=pool).gather(WEB, AT)
    parts = {"history": evidence.history, "recent": evidence.recent, "peers": evidence.peers}
    assert {name for name, part in parts.items() if part is None} == lost
    assert sorted(evidence.problems) == [
        f"{name}: Prometheus answered 503" for name in sorted(broken)
    ]


def test_answered_with_nothing_is_not_unanswered(pool: ThreadPoolExecutor) -> None:
    """A target that Prometheus has never seen: empty, without a problem."""
    evidence = MetricsReader(prometheus=prometheus(lambda _: []), pool=pool).gather(WEB, AT)
    assert (evidence.history, evidence.recent, evidence.peers, evidence.problems) == (
        {},
        {},
        {},
        (),
    )


def test_slow_server_is_given_up_at_the_deadline(pool: ThreadPoolExecutor) -> None:
    """One question that hangs costs its own part and no more than the deadline."""
    release = threading.Event()

    def answer(form: Form) -> object:
        if part_of(form) == "history":
            release.wait(30)
        return answers(form)

    server = prometheus(answer)
    evidence = MetricsReader(prometheus=server, pool=pool, deadline_s=0.3).gather(WEB, AT)
    release.set()
    assert evidence.history is None
    assert evidence.recent is not None
    assert evidence.problems == ("history: no answer within 0.3 s",)


def test_stopped_pool_is_a_problem_not_an_exception() -> None:
    """While the service stops nothing more is queries."""
    stopped = ThreadPoolExecutor(1)
    stopped.shutdown()
    evidence = MetricsReader(prometheus=prometheus(answers), pool=stopped).gather(WEB, AT)
    assert (evidence.history, evidence.recent, evidence.peers) == (None, None, None)
    assert len(evidence.problems) == 5


@pytest.mark.parametrize(
    "target", ["", "web-asg", "i-xyz", 'i-0123456789abcdef0"} or up{a="', "i-0123456789abcdef0\n"]
)
def test_target_that_is_no_instance_id_reaches_no_query(
    pool: ThreadPoolExecutor, target: str
) -> None:
    """Hostile label text never becomes PromQL."""
    queries: list[Form] = []

    def answer(form: Form) -> object:
        queries.append(form)
        return []

    server = prometheus(answer)
    evidence = MetricsReader(prometheus=server, pool=pool).gather(
        Target(id=target, group="web-asg"), AT
    )
    assert queries == []
    assert evidence.history is None
    assert len(evidence.problems) == 1


@pytest.mark.parametrize("group", [None, "", 'a"} or up{b="', "a\\", "x" * 256])
def test_unusable_group_costs_only_the_siblings(
    pool: ThreadPoolExecutor, group: str | None
) -> None:
    """The target's own past and present are still queries for."""
    evidence = MetricsReader(prometheus=prometheus(answers), pool=pool).gather(
        Target(id=TARGET, group=group), AT
    )
    assert evidence.peers is None
    assert evidence.history is not None
    assert len(evidence.problems) == 1
    assert evidence.problems[0].startswith("peers: ")


@pytest.mark.parametrize(
    ("values", "expected"),
    [(["1"], True), (["0"], False), (["1", "0"], False), ([], None), (["NaN"], None)],
)
def test_condition_holds_fails_or_is_unknown(values: list[str], *, expected: bool | None) -> None:
    """No data is not recovery, and every sample has to agree."""
    vector = [{"metric": {"n": str(n)}, "value": [AT, v]} for n, v in enumerate(values)]
    assert holds(prometheus(lambda _: vector), "x < bool 1", AT) is expected


def test_condition_without_an_answer_is_unknown() -> None:
    """A server that is down says neither yes nor no."""
    assert holds(prometheus(lambda _: httpx.Response(503)), "x", AT) is None
