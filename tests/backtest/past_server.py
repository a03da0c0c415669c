"""A Prometheus of the past at the HTTP edge: alerts, `up`, and one metric."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import httpx

NOW = 1_800_000_000.0
ID = "i-{:017x}".format
PLAYBOOK = """
name: high-cpu
match: ['alertname="HighCPU"']
mode: auto
recheck: ['cpu{$selector} > bool 0.8']
facts: {cpu: 'cpu{$selector}'}
steps:
  - action: reboot_instance
    when: facts["cpu"] > 0.8
  - action: replace_instance
    when: facts["cpu"] > 0.9
verify: {expr: 'cpu{$selector} < bool 0.8', for: 15s, timeout: 3m}
"""


def labels_of(number: int, **more: str) -> Mapping[str, str]:
    return {"instance_id": ID(number), "asg": "web", "instance": f"10.0.0.{number}:9100", **more}


@dataclass
class PastServer:
    """`alerts` are labels with the times from and to which they fired; `asked` the latest times.

    `cpu` gives a host's value at a time. Questions about a
    time after `refuses_after` get an error. The hosts that are `down` were not scraped.
    """

    alerts: Sequence[tuple[Mapping[str, str], float, float]] = ()
    hosts: int = 6
    cpu: Callable[[str, float], float] = lambda _, __: 0.95
    refuses_after: float | None = None
    down: Collection[str] = ()
    asked: list[float] = field(default_factory=list)

    def client(self) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/rules"):
            return _ok({"groups": []})
        form = dict(parse_qsl(request.content.decode()))
        query, at = form["query"], float(form.get("time") or form["end"])
        self.asked.append(at)
        if request.url.path.endswith("/query_range"):
            start, step = float(form["start"]), float(form["step"])
            moments = [start + n * step for n in range(int((at - start) // step) + 1)]
            return _ok({"resultType": "matrix", "result": self._matrix(query, moments)})
        if self.refuses_after is not None and at > self.refuses_after:
            return httpx.Response(500, json={"status": "error", "error": "later than the alert"})
        return _ok({"resultType": "vector", "result": self._vector(query, at)})

    def _matrix(self, query: str, moments: Sequence[float]) -> list[dict[str, Any]]:
        firing = []
        if query.startswith("ALERTS"):
            for labels, since, until in self.alerts:
                values = [[at, "1"] for at in moments if since <= at < until]
                metric = dict(labels) | {"alertstate": "firing"}
                firing.append({"metric": metric, "values": values})
        if query.startswith("cpu"):
            for number in range(1, self.hosts + 1):
                values = [[at, "1"] for at in moments if self.cpu(ID(number), at) > 0.8]
                firing.append({"metric": labels_of(number), "values": values})
        return [series for series in firing if series["values"]]

    def _vector(self, query: str, at: float) -> list[dict[str, Any]]:
        if "timestamp(" in query:
            return [_sample({}, at, at - 5)]
        if "(up)" in query:
            hosts = range(1, self.hosts + 1)
            return [
                _sample(labels_of(number, az="us-east-1a"), at, float(ID(number) not in self.down))
                for number in hosts
            ]
        if query.startswith("ALERTS"):
            firing = [labels for labels, since, until in self.alerts if since <= at < until]
            return [_sample({"alertstate": "firing", **labels}, at, 1) for labels in firing]
        named = re.search(r'instance_id="([^"]+)"', query)
        if query.startswith("cpu") and named:
            value = self.cpu(named[1], at)
            return [_sample({}, at, float(value > 0.8) if "bool" in query else value)]
        return []


def _sample(labels: Mapping[str, str], at: float, value: float) -> dict[str, Any]:
    return {"metric": dict(labels), "value": [at, str(value)]}


def _ok(data: Mapping[str, Any]) -> httpx.Response:
    return httpx.Response(200, json={"status": "success", "data": data})
