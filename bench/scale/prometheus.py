"""A stand-in for Prometheus that answers with series of the shape and size of a real one's.

A range query gets each role that it asks for, of the instance or of its siblings: a week that
repeats daily, and a busy CPU since a minute. Conditions hold, all alerts fire, none is pending.
`/_sim/counts` has the queries and samples so far. It prints its `url` when it is ready.
"""

import json
import math
import re
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import click

from bench.load.traffic import sample_times
from bench.scale.fleet import FleetSpec
from models.features.signals import ROLES, Unit
from receiver.runtime.rfc3339 import DAY_S

_ROLE = re.compile(r'"role", "(\w+)"')
_SIBLINGS = re.compile(r'asg="([^"]+)",instance_id!="",instance_id!="(i-[0-9a-f]+)"')
_OWN = re.compile(r'instance_id="(i-[0-9a-f]+)"')
_FIRING = re.compile(r'ALERTS\{alertstate="firing",alertname=~"([^"]*)"')
_ID = re.compile(r"i-[0-9a-f]{17}")
_SLOT_S, _BUSY_S = 300, 60
_USUAL = {
    Unit.RATIO: 0.2,
    Unit.BYTES: 2.0**31,
    Unit.BYTES_PER_SECOND: 2.0**18,
    Unit.COUNT: 1.5,
    Unit.PER_SECOND: 4.0,
    Unit.SECONDS: 0.004,
}


@dataclass(frozen=True)
class StandIn:
    """Answers about the groups of a fleet."""

    spec: FleetSpec
    counts: Counter[str] = field(default_factory=Counter)

    def range(self, query: str, start: float, end: float, step: float) -> str:
        siblings = _SIBLINGS.search(query)
        if siblings:
            ids = [one for one in self._group_of(siblings[2]) if one != siblings[2]]
        else:
            ids = [found[1]] if (found := _OWN.search(query)) else []
        roles = list(dict.fromkeys(_ROLE.findall(query)))
        busy_from = math.inf if siblings else time.time() - _BUSY_S
        parts = [
            f'{{"metric":{{"role":"{role}","instance_id":"{instance_id}"}},"values":[{values}]}}'
            for role in roles
            for values in (_values(role, start, end, step, busy_from),)
            for instance_id in ids
        ]
        self.counts["samples"] += len(parts) * int((end - start) // step + 1)
        return f'{{"resultType":"matrix","result":[{",".join(parts)}]}}'

    def instant(self, query: str) -> str:
        now = time.time()
        if (firing := _FIRING.search(query)) is not None:
            result = _firing(firing[1].split("|"), _ID.findall(query), now)
        elif "ALERTS" in query:
            result = []
        else:
            result = sample_times(query, now) or [{"metric": {}, "value": [now, "1"]}]
        self.counts["samples"] += len(result)
        return json.dumps({"resultType": "vector", "result": result})

    def _group_of(self, instance_id: str) -> Sequence[str]:
        return _by_id(self.spec).get(instance_id, ())


@cache
def _by_id(spec: FleetSpec) -> dict[str, Sequence[str]]:
    return {one: group.ids for group in spec.groups for one in group.ids}


def _firing(names: Sequence[str], ids: Sequence[str], now: float) -> list[dict[str, Any]]:
    """All alerts that a query asks for fire."""
    state = {"__name__": "ALERTS", "alertstate": "firing"}
    return [
        {"metric": {**state, "alertname": name, "instance_id": one}, "value": [now, "1"]}
        for name in names
        for one in ids
    ]


def _values(role: str, start: float, end: float, step: float, busy_from: float) -> str:
    """The samples as JSON; those of the past are the same for each host, and kept."""
    past = int((min(end, busy_from) - start) // step) + 1
    text = _past(role, start, max(past, 0), step)
    late = [start + step * number for number in range(max(past, 0), int((end - start) // step) + 1)]
    busy = "0.99" if role == "cpu_busy" else None
    newer = ",".join(f'[{at:.0f},"{busy or _usual(role, at)}"]' for at in late)
    return ",".join(filter(None, (text, newer)))


@lru_cache(maxsize=512)
def _past(role: str, start: float, count: int, step: float) -> str:
    times = (start + step * number for number in range(count))
    return ",".join(f'[{at:.0f},"{_usual(role, at)}"]' for at in times)


def _usual(role: str, at: float) -> str:
    return _day(role)[int(at % DAY_S) // _SLOT_S]


@cache
def _day(role: str) -> Sequence[str]:
    """A day in slots of five minutes, with a wave and a little noise that is the same each day."""
    base, slots = _USUAL[ROLES[role].unit], DAY_S // _SLOT_S
    return [
        f"{base * (1 + 0.3 * math.sin(2 * math.pi * slot / slots) + 0.02 * (slot * 7919 % 11)):.6g}"
        for slot in range(int(slots))
    ]


def serve(spec: FleetSpec) -> ThreadingHTTPServer:
    stand_in = StandIn(spec)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            form = {name: values[0] for name, values in self._form(length).items()}
            stand_in.counts["queries"] += 1
            if self.path.endswith("query_range"):
                times = (float(form[name]) for name in ("start", "end", "step"))
                data = stand_in.range(form["query"], *times)
            else:
                data = stand_in.instant(form["query"])
            self._send(f'{{"status":"success","data":{data}}}')

        def do_GET(self) -> None:
            if self.path == "/_sim/counts":
                self._send(json.dumps(stand_in.counts))
                return
            self._send('{"status":"success","data":{"groups":[]}}')

        def _form(self, length: int) -> dict[str, list[str]]:
            return parse_qs(self.rfile.read(length).decode())

        def _send(self, text: str) -> None:
            body = text.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def main() -> None:
    server = serve(FleetSpec.parse())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    # The parent process reads it.
    click.echo(json.dumps({"url": f"http://127.0.0.1:{server.server_port}"}))
    threading.Event().wait()


if __name__ == "__main__":
    main()
