"""Prometheus as it was: at the HTTP edge, nothing later than the clock is asked."""

import hashlib
import json
import re
import sqlite3
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl

import httpx

from receiver.runtime.redaction import Redaction

# How PromQL looks past the moment that it is evaluated at.
# https://prometheus.io/docs/prometheus/latest/querying/basics/#offset-modifier
_LATER = re.compile(r"\boffset\s*-|@\s*(?:[0-9]|end\s*\(|start\s*\()")
# What does not change the answer.
_UNREAD = frozenset({"timeout", "nocache", "latency_offset"})
_REFUSED = 422
# A rounding error of a time in milliseconds.
_SAME_S = 0.001
_Answer = tuple[int, bytes]


class LaterAskedError(Exception):
    """A decision asked for what was not known then: a bug, for which no result stands."""


@dataclass
class Answers:
    """Answers by the question, kept in a file where one is named: none is asked for twice.

    The values of labels are kept without secrets. Use it from any thread.
    """

    file: Path | None = None
    _kept: dict[str, _Answer] = field(default_factory=dict, init=False)
    _database: sqlite3.Connection | None = field(default=None, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)
    _redact: Redaction = field(default_factory=Redaction, init=False)

    def __post_init__(self) -> None:
        if self.file is not None:
            self._database = sqlite3.connect(self.file, check_same_thread=False)
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS answers (question TEXT PRIMARY KEY, body BLOB) STRICT"
            )

    def get(self, question: str) -> bytes | None:
        if self._database is None:
            return None
        with self._lock:
            query = "SELECT body FROM answers WHERE question = ?"
            row = self._database.execute(query, (question,)).fetchone()
        return zlib.decompress(row[0]) if row else None

    def keep(self, question: str, body: bytes) -> bytes:
        """Returns the answer as it is kept."""
        if self._database is None:
            return body
        body = self._without_secrets(body)
        with self._lock, self._database:
            statement = "INSERT OR REPLACE INTO answers VALUES (?, ?)"
            self._database.execute(statement, (question, zlib.compress(body, 9)))
        return body

    def close(self) -> None:
        if self._database is not None:
            self._database.close()

    def _without_secrets(self, body: bytes) -> bytes:
        try:
            answer = json.loads(body)
            result = answer["data"]["result"]
        except (ValueError, KeyError, TypeError):
            return body
        for series in result if isinstance(result, list) else ():
            if isinstance(series, dict) and isinstance(series.get("metric"), dict):
                series["metric"] = {k: self._redact(v) for k, v in series["metric"].items()}
        return json.dumps(answer, separators=(",", ":")).encode()


@dataclass
class PastPrometheus(httpx.BaseTransport):
    """The transport of a client whose server is Prometheus, at the time of `clock`.

    `live` are clients by the address of their server; None: only what `answers` has is told. At
    most `per_s` queries are asked in a second. `queries` counts those that were asked, `missing`
    those to which nothing was kept.
    """

    clock: Callable[[], float]
    answers: Answers
    live: Mapping[str, httpx.Client] | None = None
    per_s: float = 20.0
    queries: int = field(default=0, init=False)
    seconds: float = field(default=0.0, init=False)
    missing: int = field(default=0, init=False)
    later: list[str] = field(default_factory=list, init=False)
    _next_at: float = field(default=0.0, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        form = dict(parse_qsl((request.content or request.url.query).decode()))
        if self._is_later(form):
            self.later.append(json.dumps(form))
            return self._response(_REFUSED, b'{"status":"error","error":"it is not known yet"}')
        question = _question(request.url.path, form)
        body = self.answers.get(question)
        if body is None and self.live is None:
            self.missing += 1
            return self._response(_REFUSED, b'{"status":"error","error":"no answer was kept"}')
        if body is None:
            status, body = self._ask(request)
            if status != httpx.codes.OK:
                return self._response(status, body)
            body = self.answers.keep(question, body)
        return self._response(httpx.codes.OK, body)

    def require_nothing_later(self) -> None:
        """Raises LaterAskedError."""
        if self.later:
            raise LaterAskedError(f"asked for what came later: {self.later[0]}")

    def _is_later(self, form: Mapping[str, str]) -> bool:
        """Whether the answer would have what was not known then."""
        asked = [float(form[name]) for name in ("time", "end") if name in form]
        late = any(at > self.clock() + _SAME_S for at in asked)
        return late or _LATER.search(form.get("query", "")) is not None

    def _ask(self, request: httpx.Request) -> _Answer:
        url = str(request.url)
        live = next(c for base, c in (self.live or {}).items() if url.startswith(base))
        self._wait()
        started = time.monotonic()
        sent = live.build_request(
            request.method,
            url,
            content=request.content or None,
            headers={
                name: request.headers[name]
                for name in ("Content-Type", "Accept-Encoding")
                if name in request.headers
            },
            timeout=request.extensions.get("timeout", {}).get("read"),
        )
        answer = live.send(sent)
        with self._lock:
            self.queries += 1
            self.seconds += time.monotonic() - started
        return answer.status_code, answer.content

    def _wait(self) -> None:
        with self._lock:
            now = time.monotonic()
            at = max(now, self._next_at)
            self._next_at = at + 1 / self.per_s
        time.sleep(at - now)

    def _response(self, status: int, body: bytes) -> httpx.Response:
        headers = {"Date": formatdate(self.clock(), usegmt=True)}
        return httpx.Response(status, content=body, headers=headers)


def _question(path: str, form: Mapping[str, Any]) -> str:
    text = json.dumps([path, sorted((k, v) for k, v in form.items() if k not in _UNREAD)])
    return hashlib.sha256(text.encode()).hexdigest()[:32]
