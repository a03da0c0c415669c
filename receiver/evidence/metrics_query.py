"""The metrics of a target and its peers, read for the re-check in a few concurrent queries."""

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass
from functools import partial

from models.features.evidence import Evidence, Series
from receiver.evidence.prometheus.answers import PrometheusError
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.range_queries import (
    RangeQuery,
    end_of_history,
    latest_query,
    past_queries,
    peers_query,
    weekly_roles,
)
from receiver.evidence.role_series import Answer, by_instance, by_role, extended, joined
from receiver.evidence.target import Target
from receiver.evidence.targets.readings import host_of

DEADLINE_S = 5.0
# A prefetched past may be this old if evidence is completed from it.
_PREFETCH_LASTS_S = 45.0
# Queries by the part of the evidence that they read.
_Pending = dict[str, Future[Answer]]


@dataclass(frozen=True, kw_only=True)
class PastMetrics:
    """The metrics of a target up to two minutes before `at`.

    `history_end` is the end of its week; `weekly_roles` have a second week.
    """

    at: float
    history_end: float
    weekly_roles: frozenset[str]
    history: Mapping[str, Series]
    recent: Mapping[str, Series]

    def serves(self, at: float, roles: Collection[str]) -> bool:
        """Whether a query now would return the same past."""
        young = 0 <= at - self.at <= _PREFETCH_LASTS_S
        return young and self.has_history(at, roles)

    def has_history(self, at: float, roles: Collection[str]) -> bool:
        """Whether a query now would read the same weeks."""
        same_week = self.history_end == end_of_history(at)
        return same_week and self.weekly_roles == weekly_roles(roles)


@dataclass(frozen=True, kw_only=True)
class MetricsReader:
    """Reads evidence from `prometheus` on `pool`, within `deadline_s`.

    `pool` must not be the caller's own: a pool full of callers that wait for queries would run
    none. `prefetched` returns the prefetched past of a target.
    """

    prometheus: Prometheus
    pool: Executor
    deadline_s: float = DEADLINE_S
    prefetched: Callable[[str], PastMetrics | None] = lambda _: None

    def gather(self, target: Target, at: float, roles: Collection[str] = ()) -> Evidence:
        """The metrics of an alert's target up to `at`, and nothing later.

        They are a week of all roles, and a second week of those roles that show a weekly job: the
        alert's `roles` and a few more. With a usable prefetched past, only the present is queried.

        Never raises: a query without an answer is None, with a line in `problems`.
        """
        return self.begin(target, at, roles)()

    def begin(
        self, target: Target, at: float, roles: Collection[str] = ()
    ) -> Callable[[], Evidence]:
        """Start the queries of `gather`; the returned function waits for their answers."""
        problems: list[str] = []
        past = self.prefetched(target.id or "") if target.is_usual else None
        if past is not None and not past.serves(at, roles):
            past = None
        queries = _queries(target, at, roles, past, problems)
        pending = self._send(queries, problems, target.prometheus)
        until = time.monotonic() + self.deadline_s

        def finish() -> Evidence:
            return _evidence(target, at, past, self._wait(pending, until, problems), problems)

        return finish

    def read_past(
        self,
        target_id: str,
        at: float,
        roles: Collection[str] = (),
        previous: PastMetrics | None = None,
    ) -> PastMetrics | None:
        """The past of a target, for a `gather` soon after; None if a query has no answer.

        It reuses the weeks of a `previous` past if they are still the same.
        """
        try:
            queries = past_queries(Target(id=target_id), at, roles)
        except ValueError:
            return None
        reused = previous.history if previous and previous.has_history(at, roles) else None
        if reused is not None:
            queries = {"recent": queries["recent"]}
        pending = self._send(queries, [])
        answers = self._wait(pending, time.monotonic() + self.deadline_s, [])
        recent = by_role(answers.get("recent"), at)
        read = by_role(joined(answers.get("older"), answers.get("history")), at)
        history = read if reused is None else reused
        if recent is None or history is None:
            return None
        return PastMetrics(
            at=math.floor(at),
            history_end=end_of_history(at),
            weekly_roles=weekly_roles(roles),
            history=history,
            recent=recent,
        )

    def _send(
        self,
        queries: Mapping[str, RangeQuery],
        problems: list[str],
        prometheus: Prometheus | None = None,
    ) -> _Pending:
        pending: _Pending = {}
        for part, query in queries.items():
            try:
                pending[part] = self.pool.submit(
                    (prometheus or self.prometheus).range_query,
                    query.expr,
                    start=query.start,
                    end=query.end,
                    step=query.step,
                    timeout_s=self.deadline_s,
                )
            except RuntimeError:
                problems.append(f"{part}: not queried, because the service is stopping")
        return pending

    def _wait(self, pending: _Pending, until: float, problems: list[str]) -> dict[str, Answer]:
        """The answers that come until then, in monotonic seconds."""
        wait(pending.values(), timeout=max(0.0, until - time.monotonic()))
        answers: dict[str, Answer] = {}
        for part, future in pending.items():
            if not future.done():
                future.cancel()
                problems.append(f"{part}: no answer within {self.deadline_s:.1f} s")
            elif isinstance(error := future.exception(), PrometheusError):
                problems.append(f"{part}: {error}")
            elif error is not None:
                problems.append(f"{part}: {type(error).__name__}")
            else:
                answers[part] = future.result()
        return answers


def _evidence(
    target: Target,
    at: float,
    past: PastMetrics | None,
    answers: Mapping[str, Answer],
    problems: Sequence[str],
) -> Evidence:
    history = by_role(joined(answers.get("older"), answers.get("history")), at)
    recent = by_role(answers.get("recent"), at)
    latest = by_role(answers.get("latest"), at)
    return Evidence(
        target=target.id or "",
        at=at,
        history=past.history if past else history,
        recent=extended(past.recent if past else recent, latest),
        peers=by_instance(answers.get("peers"), at, partial(_instance_of, target)),
        problems=tuple(problems),
    )


def _instance_of(target: Target, labels: Mapping[str, str]) -> str | None:
    """The instance to which a series with these labels belongs."""
    series = target.series
    if series is None:
        return labels.get("instance_id")
    return series.ids.get(host_of(labels.get(series.label, "")))


def _queries(
    target: Target,
    at: float,
    roles: Collection[str],
    past: PastMetrics | None,
    problems: list[str],
) -> dict[str, RangeQuery]:
    """All queries that the labels allow; none without a well-formed instance id."""
    try:
        queries = {} if past else past_queries(target, at, roles)
        queries["latest"] = latest_query(target, at, past.at if past else None)
    except ValueError as error:
        problems.append(f"target: {error}")
        return {}
    try:
        queries["peers"] = peers_query(target, at, roles)
    except ValueError as error:
        problems.append(f"peers: {error}")
    return queries
