"""Reads how a target's dependencies are, in three queries of the present for all components."""

import math
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field

from receiver.evidence.dependencies.file import Dependencies
from receiver.evidence.dependencies.suspects import Component, Signal, Suspect, find_suspects
from receiver.evidence.prometheus.answers import PrometheusError
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.target import Target
from receiver.runtime.rfc3339 import DAY_S

_STEP_S = 300.0
_PAST_S = 2 * DAY_S
# The past ends here before the present, so that a fault of minutes is no part of it.
_APART_S = 1800.0

# Values by component, oldest first.
_Values = Mapping[str, Sequence[float]]


@dataclass(frozen=True, kw_only=True)
class DependencyReader:
    """Finds what explains a target's trouble; `pool` runs the queries, the past is kept a while."""

    dependencies: Dependencies
    prometheus: Prometheus
    pool: Executor
    _past: dict[float, Mapping[str, _Values]] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def read(
        self, target: Target, labels: Mapping[str, str], at: float
    ) -> Sequence[Suspect] | None:
        """The suspects, the blamed first; none for a component without dependencies.

        None where Prometheus did not answer.
        """
        try:
            depends_on = self._edges(at)
            name = labels.get(self.dependencies.component_label) or target.group or ""
            if not depends_on.get(name):
                return ()
            return find_suspects(name, depends_on, self._components(at))
        except PrometheusError:
            return None

    def _edges(self, at: float) -> Mapping[str, Sequence[str]]:
        edges = {client: list(servers) for client, servers in self.dependencies.depends_on.items()}
        if self.dependencies.edges is not None:
            for sample in self.prometheus.instant_query(self.dependencies.edges, at=at):
                client, server = (sample.labels.get(name, "") for name in ("client", "server"))
                if server not in edges.setdefault(client, []):
                    edges[client].append(server)
        return edges

    def _components(self, at: float) -> Mapping[str, Component]:
        last = (at - _APART_S) // _STEP_S * _STEP_S
        with self._lock:
            if last not in self._past:
                past = self._values(last - _PAST_S, last)
                self._past.clear()
                self._past[last] = past
            past = self._past[last]
        now = self._values(at, at)
        requests = {name: values[-1] for name, values in now["requests"].items()}
        return {
            name: Component(requests=each, signals=_signals(name, now, past))
            for name, each in requests.items()
        }

    def _values(self, start: float, end: float) -> Mapping[str, _Values]:
        """The values of each signal; failures are a share of the requests at the same time."""
        asked = {
            name: expr
            for name in ("requests", "failures", "latency")
            if (expr := getattr(self.dependencies, name)) is not None
        }
        pending = {
            name: self.pool.submit(self._series, expr, start, end) for name, expr in asked.items()
        }
        series = {name: future.result() for name, future in pending.items()}
        requests = series["requests"]
        if "failures" in series:
            # A counter of failures has no series before the first one.
            failed = series["failures"]
            series["failures"] = {
                name: {
                    time: failed.get(name, {}).get(time, 0.0) / value
                    for time, value in values.items()
                    if value > 0
                }
                for name, values in requests.items()
            }
        return {
            signal: {name: list(values.values()) for name, values in each.items() if values}
            for signal, each in series.items()
        }

    def _series(self, expr: str, start: float, end: float) -> dict[str, dict[float, float]]:
        answer = self.prometheus.range_query(expr, start=start, end=end, step=_STEP_S)
        found: defaultdict[str, dict[float, float]] = defaultdict(dict)
        for each in answer:
            found[each.labels.get("component", "")].update(
                zip(each.times, each.values, strict=True)
            )
        return found


def _signals(
    name: str, now: Mapping[str, _Values], past: Mapping[str, _Values]
) -> Mapping[str, Signal]:
    kinds: Mapping[str, Callable[[float, Sequence[float]], Signal | None]] = {
        "latency": Signal.of_latency,
        "failures": Signal.of_failures,
    }
    return {
        kind: signal
        for kind, make in kinds.items()
        if (values := now.get(kind, {}).get(name))
        and math.isfinite(values[-1])
        and (signal := make(values[-1], past.get(kind, {}).get(name, ())))
    }
