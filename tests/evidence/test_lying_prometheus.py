"""A Prometheus that lies: the re-check says so, or that it cannot tell, and never acts on it."""

import json
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from urllib.parse import parse_qs

import httpx
import pytest

from models.inference import artifact
from models.inference.detector import judge
from models.inference.verdict import Answer, Verdict
from receiver.evidence.metrics_query import MetricsReader
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.target import Target

AT = 1_800_000_000.0
TARGET = "i-0123456789abcdef0"
SIBLINGS = [f"i-0123456789abcdef{number}" for number in range(1, 6)]
# Usual levels, and how much they follow the day.
USUAL = {
    "cpu_busy": (0.3, 0.1),
    "load1": (1.0, 0.4),
    "memory_used_effective": (3e9, 1e8),
    "net_rx_bytes": (2e6, 1e6),
    "net_tx_bytes": (2e6, 1e6),
    "disk_util": (0.05, 0.02),
    "disk_read_bytes": (1e5, 1e4),
    "disk_write_bytes": (1e5, 1e4),
    "tcp_established": (200.0, 60.0),
}
# A runaway process, for the last minute and a half.
RUNAWAY = {"cpu_busy": 0.97, "load1": 9.0}
_FAULT_S = 90.0
Sample = tuple[float, float]
Lie = Callable[[str, str, list[Sample]], list[Sample]]


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(6) as executor:
        yield executor


@pytest.fixture(scope="module")
def model() -> artifact.Model:
    return artifact.load_shipped()


def level(role: str, instance: str, at: float) -> float:
    usual, daily = USUAL[role]
    if instance == TARGET and at > AT - _FAULT_S and role in RUNAWAY:
        return RUNAWAY[role]
    noise = 0.05 * usual * math.sin(at * 7.3 + hash((role, instance)) % 100)
    return usual + daily * math.sin(2 * math.pi * at / 86_400) + noise


def answer_to(form: dict[str, str], lie: Lie) -> list[dict[str, object]]:
    """What it answers to a range query: one series a role and instance."""
    start, end, step = (float(form[key]) for key in ("start", "end", "step"))
    part = (
        "peers" if "instance_id!=" in form["query"] else {300: "history"}.get(int(step), "recent")
    )
    times = [start + number * step for number in range(int((end - start) // step) + 1)]
    queried = [role for role in USUAL if f'"{role}"' in form["query"]]
    series: list[dict[str, object]] = []
    for instance in SIBLINGS if part == "peers" else [TARGET]:
        for role in queried:
            samples = lie(part, role, [(at, level(role, instance, at)) for at in times])
            values = [[at, str(value)] for at, value in samples]
            labels = {"role": role, "instance_id": instance}
            series += [{"metric": labels, "values": values}] if values else []
    return series


def verdict(
    model: artifact.Model,
    pool: ThreadPoolExecutor,
    lie: Lie,
    *,
    twice: bool = False,
    clock_off_s: float = 0.0,
) -> Verdict:
    def answer(request: httpx.Request) -> httpx.Response:
        form = {key: value[0] for key, value in parse_qs(request.content.decode()).items()}
        result = answer_to(form, lie)
        data = {"resultType": "matrix", "result": result * (1 + twice)}
        body = json.dumps({"status": "success", "data": data})
        headers = {"Date": formatdate(AT + clock_off_s, usegmt=True)}
        return httpx.Response(200, text=body, headers=headers)

    client = httpx.Client(transport=httpx.MockTransport(answer))
    prometheus = Prometheus("http://p", client=client, clock=lambda: AT)
    reader = MetricsReader(prometheus=prometheus, pool=pool, deadline_s=10)
    evidence = reader.gather(Target(id=TARGET, group="web-asg"), AT, {"cpu_busy"})
    return judge(model, evidence, {"cpu_busy"})


def honest(_: str, __: str, samples: list[Sample]) -> list[Sample]:
    return samples


def no_present(part: str, _: str, samples: list[Sample]) -> list[Sample]:
    return [sample for sample in samples if sample[0] < AT - 300] if part == "recent" else samples


def not_a_number(part: str, _: str, samples: list[Sample]) -> list[Sample]:
    return [(at, math.nan if part == "recent" and at > AT - 60 else v) for at, v in samples]


def infinite(part: str, _: str, samples: list[Sample]) -> list[Sample]:
    return [(at, math.inf if part == "recent" and at > AT - 60 else v) for at, v in samples]


def reset(part: str, role: str, samples: list[Sample]) -> list[Sample]:
    """A counter that began anew, and was taken for a jump: busier than a machine can be."""
    if part != "recent" or role != "cpu_busy":
        return samples
    return [(at, 4e9 if at > AT - 60 else value) for at, value in samples]


def backwards(part: str, role: str, samples: list[Sample]) -> list[Sample]:
    if part != "recent" or role != "cpu_busy":
        return samples
    return [(at, -30.0 if at > AT - 60 else value) for at, value in samples]


def no_past(part: str, _: str, samples: list[Sample]) -> list[Sample]:
    return [sample for sample in samples if sample[0] > AT - 7200] if part == "history" else samples


def late(_: str, __: str, samples: list[Sample]) -> list[Sample]:
    """Stamped by a clock that is four minutes behind: the newest samples are not there yet."""
    return [(at, value) for at, value in samples if at <= AT - 240]


def test_what_is_told_honestly_is_confirmed(
    model: artifact.Model, pool: ThreadPoolExecutor
) -> None:
    """The host itself is at fault, and nothing stands in the way of saying so."""
    answer = verdict(model, pool, honest)
    assert (answer.answer, answer.kind) == (Answer.CONFIRMED, "runaway_process")


@pytest.mark.parametrize(
    "lie", [no_present, not_a_number, infinite, reset, backwards, no_past, late]
)
def test_a_lie_is_undecided(model: artifact.Model, pool: ThreadPoolExecutor, lie: Lie) -> None:
    """Gaps, no numbers, resets, clocks: whatever is wrong with the numbers, nobody can say."""
    answer = verdict(model, pool, lie)
    assert answer.answer is Answer.UNDECIDED
    assert answer.contributions[0].text


def test_gaps_in_the_past_do_not_confirm(model: artifact.Model, pool: ThreadPoolExecutor) -> None:
    """Only one day in seven is known: too little to say what is usual."""

    def mostly_lost(part: str, _: str, samples: list[Sample]) -> list[Sample]:
        return (
            [sample for sample in samples if sample[0] // 300 % 12 == 0]
            if part == "history"
            else samples
        )

    answer = verdict(model, pool, mostly_lost)
    assert answer.answer is not Answer.REFUTED


def test_one_series_twice_is_undecided(model: artifact.Model, pool: ThreadPoolExecutor) -> None:
    """Whichever of the two were taken, it could be the wrong one."""
    assert verdict(model, pool, honest, twice=True).answer is Answer.UNDECIDED


@pytest.mark.parametrize(("off_s", "side"), [(300.0, "ahead"), (-300.0, "behind")])
def test_a_clock_that_is_off_by_minutes_is_undecided(
    model: artifact.Model, pool: ThreadPoolExecutor, off_s: float, side: str
) -> None:
    """Its present is not the alert's; the reason says so."""
    answer = verdict(model, pool, honest, clock_off_s=off_s)
    assert answer.answer is Answer.UNDECIDED
    assert side in answer.contributions[0].text


def test_a_clock_that_is_off_by_seconds_does_not_matter(
    model: artifact.Model, pool: ThreadPoolExecutor
) -> None:
    assert verdict(model, pool, honest, clock_off_s=8.0).answer is Answer.CONFIRMED
