"""What Prometheus knows of a target, gathered for the re-check in a few concurrent queries."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass

from models.features.evidence import Evidence, Series
from models.features.peers import TRAFFIC
from models.features.signals import (
    LATEST,
    MEANS,
    ROLES,
    of_instance,
    of_siblings,
    query,
    while_scraped,
)
from receiver.evidence.prometheus import LabelledSeries, Prometheus, PrometheusError
from receiver.runtime.rfc3339 import DAY_S

DEADLINE_S = 5.0
_HISTORY_STEP_S = 300.0
# The end that is read in finer steps; how old a past may be that is gone on from.
_LATEST_S, _YOUNG_S = 120, 45.0
# What a job of each week shows itself in, and what siblings are compared by.
_WEEKLY = frozenset({"cpu_busy", "disk_util", "net_tx_bytes"})
_COMPARED = frozenset({"cpu_busy", "load1", "memory_used_effective", *TRAFFIC})


@dataclass(frozen=True, kw_only=True)
class _Question:
    expr: str
    start: float
    end: float
    step: float


@dataclass(frozen=True, kw_only=True)
class Past:
    """What was known of a target at `at`, but for the two minutes before.

    `last` is the end of its week, `roles` are those of which there is a second one.
    """

    at: float
    last: float
    roles: frozenset[str]
    history: Mapping[str, Series]
    recent: Mapping[str, Series]

    def serves(self, at: float, roles: Collection[str]) -> bool:
        """Whether it is as good as what would be read now."""
        young = 0 <= at - self.at <= _YOUNG_S
        return young and self.last == _grid(at) and self.roles == _WEEKLY | frozenset(roles)


def gather(  # noqa: PLR0913 - each is one fact about the alert, all by name
    prometheus: Prometheus,
    *,
    target: str,
    group: str | None,
    at: float,
    pool: Executor,
    roles: Collection[str] = (),
    deadline_s: float = DEADLINE_S,
    past: Past | None = None,
) -> Evidence:
    """All that is asked of Prometheus about one alert's target, up to `at` and nothing later.

    A week of all roles, and a second week of those that show a weekly job: the alert's own
    `roles` and a few more. With a `past` that serves only the present is asked for.

    Never raises: a question without an answer is None, with a line in `problems`. Returns within
    `deadline_s`. `pool` must not be the one this call itself runs on: full of callers that wait
    for their questions, it would answer none.
    """
    problems: list[str] = []
    if past is not None and not past.serves(at, roles):
        past = None
    questions = _questions(target, group, at, roles, problems, past)
    answers = _ask(prometheus, questions, pool, deadline_s, problems)
    read = _by_role(_joined(answers.get("older"), answers.get("history")), at)
    lately = _by_role(answers.get("recent"), at)
    return Evidence(
        target=target,
        at=at,
        history=past.history if past else read,
        recent=_later(past.recent if past else lately, _by_role(answers.get("latest"), at)),
        peers=_by_instance(answers.get("peers"), at),
        problems=tuple(problems),
    )


def past_of(  # noqa: PLR0913 as `gather`
    prometheus: Prometheus,
    *,
    target: str,
    at: float,
    pool: Executor,
    roles: Collection[str] = (),
    deadline_s: float = DEADLINE_S,
    known: Past | None = None,
) -> Past | None:
    """The past of a target, for `gather` at a moment soon after; None where it cannot be told.

    Of a `known` one the weeks are taken over while they are the same.
    """
    problems: list[str] = []
    questions = _past_questions(target, at, frozenset(roles), problems)
    same = known is not None and known.last == _grid(at) and known.roles == _WEEKLY | set(roles)
    if known is not None and same:
        questions = {part: one for part, one in questions.items() if part == "recent"}
    answers = _ask(prometheus, questions, pool, deadline_s, problems)
    recent = _by_role(answers.get("recent"), at)
    read = _by_role(_joined(answers.get("older"), answers.get("history")), at)
    history = known.history if known is not None and same else read
    if recent is None or history is None:
        return None
    return Past(
        at=math.floor(at),
        last=_grid(at),
        roles=_WEEKLY | frozenset(roles),
        history=history,
        recent=recent,
    )


def boot_time(prometheus: Prometheus, instance_id: str, at: float) -> float | None:
    """Epoch seconds at which the target's system booted, by its own clock; None is unknown."""
    try:
        expr = f"max(node_boot_time_seconds{{{of_instance(instance_id)}}})"
        samples = prometheus.instant_query(expr, at=at)
    except (PrometheusError, ValueError):
        return None
    return samples[0].value if samples else None


def holds(prometheus: Prometheus, expr: str, at: float) -> bool | None:
    """Whether a condition holds at a moment; None is unknown: no data, no answer, not a number.

    Every sample must be non-zero. Conditions are best written with `bool` (`x < bool 0.85`):
    a filter (`x < 0.85`) leaves nothing where it is false, which looks like no data and is
    unknown here, drops the members of a group that fail it, and passes on a value of 0.
    """
    try:
        samples = prometheus.instant_query(expr, at=at)
    except PrometheusError:
        return None
    return all(sample.value != 0 for sample in samples) if samples else None


def _questions(  # noqa: PLR0913, PLR0917 as `gather`
    target: str,
    group: str | None,
    at: float,
    roles: Collection[str],
    problems: list[str],
    past: Past | None,
) -> dict[str, _Question]:
    questions = {} if past else _past_questions(target, at, frozenset(roles), problems)
    try:
        of = of_instance(target)
    except ValueError:
        return {}
    moment = math.floor(at)
    since = (past.at if past else moment) - _LATEST_S
    # Whole steps back from the present, to right after what is known.
    start = moment - (moment - since - 1) // 5 * 5
    live = while_scraped(query(of, LATEST), of)
    questions["latest"] = _Question(expr=live, start=start, end=moment, step=5)
    try:
        others = of_siblings(group, target) if group else None
    except ValueError as error:
        problems.append(f"peers: {error}")
        return questions
    if others is None:
        problems.append("peers: the alert names no group")
        return questions
    shared = [role for name, role in ROLES.items() if name in _COMPARED | frozenset(roles)]
    expr = while_scraped(query(others, LATEST, shared), others)
    return questions | {"peers": _Question(expr=expr, start=moment - 1_800, end=moment, step=30)}


def _past_questions(
    target: str, at: float, roles: frozenset[str], problems: list[str]
) -> dict[str, _Question]:
    try:
        of = of_instance(target)
    except ValueError as error:
        problems.append(f"target: {error}")
        return {}
    # Whole seconds: Prometheus truncates a fraction to milliseconds, start and end unlike, and a
    # range that comes out a millisecond short lacks its last step, which is the present.
    moment, last = math.floor(at), _grid(at)
    week, weekly = last - 7 * DAY_S, roles | _WEEKLY
    return {
        "older": _Question(
            expr=query(of, MEANS, [role for name, role in ROLES.items() if name in weekly]),
            start=last - 15 * DAY_S,
            end=week - _HISTORY_STEP_S,
            step=_HISTORY_STEP_S,
        ),
        "history": _Question(expr=query(of, MEANS), start=week, end=last, step=_HISTORY_STEP_S),
        "recent": _Question(
            expr=while_scraped(query(of, LATEST), of),
            start=moment - 7_200,
            end=moment - _LATEST_S,
            step=15,
        ),
    }


def _grid(at: float) -> float:
    """The end of the week before: on a grid of its step, the past reads the same for a while."""
    return math.floor(at) // _HISTORY_STEP_S * _HISTORY_STEP_S


def _ask(
    prometheus: Prometheus,
    questions: Mapping[str, _Question],
    pool: Executor,
    deadline_s: float,
    problems: list[str],
) -> dict[str, tuple[LabelledSeries, ...]]:
    asked: dict[str, Future[tuple[LabelledSeries, ...]]] = {}
    for part, question in questions.items():
        try:
            asked[part] = pool.submit(
                prometheus.range_query,
                question.expr,
                start=question.start,
                end=question.end,
                step=question.step,
                timeout_s=deadline_s,
            )
        except RuntimeError:
            problems.append(f"{part}: not asked, the service is stopping")
    wait(asked.values(), timeout=deadline_s)
    answers: dict[str, tuple[LabelledSeries, ...]] = {}
    for part, future in asked.items():
        if not future.done():
            future.cancel()
            problems.append(f"{part}: no answer within {deadline_s:.1f} s")
        elif isinstance(error := future.exception(), PrometheusError):
            problems.append(f"{part}: {error}")
        elif error is not None:
            problems.append(f"{part}: {type(error).__name__}")
        else:
            answers[part] = future.result()
    return answers


def _joined(
    older: tuple[LabelledSeries, ...] | None, newer: tuple[LabelledSeries, ...] | None
) -> tuple[LabelledSeries, ...] | None:
    """Two adjacent answers as one. Half an answer is none: its end or its beginning would lie."""
    if older is None or newer is None:
        return None
    return older + newer


def _later(
    older: Mapping[str, Series] | None, newer: Mapping[str, Series] | None
) -> Mapping[str, Series] | None:
    """Two adjacent answers as one, as `_joined`."""
    if older is None or newer is None:
        return None
    none = Series()
    found = {role: (older.get(role, none), newer.get(role, none)) for role in {*older, *newer}}
    return {
        role: Series((*before.times, *after.times), (*before.values, *after.values))
        for role, (before, after) in found.items()
    }


def _by_role(found: Iterable[LabelledSeries] | None, at: float) -> dict[str, Series] | None:
    if found is None:
        return None
    times: defaultdict[str, tuple[float, ...]] = defaultdict(tuple)
    values: defaultdict[str, tuple[float, ...]] = defaultdict(tuple)
    for series in found:
        role = series.labels.get("role", "")
        known = ROLES.get(role)
        # A server may answer beyond the end that it was asked for.
        kept = [
            (time, value)
            for time, value in zip(series.times, series.values, strict=True)
            if time <= at and (known is None or known.believable(value))
        ]
        times[role] += tuple(time for time, _ in kept)
        values[role] += tuple(value for _, value in kept)
    return {role: Series(times[role], values[role]) for role in times}


def _by_instance(
    found: Iterable[LabelledSeries] | None, at: float
) -> dict[str, dict[str, Series]] | None:
    if found is None:
        return None
    members: defaultdict[str, list[LabelledSeries]] = defaultdict(list)
    for series in found:
        if instance_id := series.labels.get("instance_id"):
            members[instance_id].append(series)
    return {one: _by_role(series, at) or {} for one, series in members.items()}
