"""The channels as a server over HTTP that loses, repeats, delays and refuses requests."""

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

from bench.incidents.world import World
from bench.load.traffic import running

_FATES = ("lost request", "lost answer", "late", "twice", "limited", "down")
# A request that is late arrives well before the service takes it for lost (`sync.SETTLE_S`).
_LATE_S, _SLOW_S, _RETRY_AFTER_S = 30.0, 0.3, 2


@dataclass
class Channels:
    """`share` of the requests meet a misfortune; `misfortunes` counts them by their name."""

    world: World
    chance: random.Random
    share: float
    misfortunes: Counter[str] = field(default_factory=Counter, init=False)
    under_way: int = field(default=0, init=False)
    # Requests that arrive later.
    _late: list[threading.Timer] = field(default_factory=list, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    @property
    def answers_lost(self) -> int:
        """Requests that had an effect, of which the service does not know, or one more."""
        return sum(self.misfortunes[name] for name in ("lost answer", "late", "twice"))

    def answer(self, request: httpx.Request) -> httpx.Response | None:
        """None where the service gets no answer."""
        with self._lock:
            self.under_way += 1
            fate = self.chance.choice(_FATES) if self.chance.random() < self.share else ""
            wait_s, late_s = self.chance.uniform(0, _SLOW_S), self.chance.uniform(1, _LATE_S)
            self.misfortunes.update([fate] if fate else [])
        try:
            time.sleep(wait_s / 2)
            answer = self._met(request, fate, late_s)
            time.sleep(wait_s / 2)
        finally:
            with self._lock:
                self.under_way -= 1
        return answer

    def _met(self, request: httpx.Request, fate: str, late_s: float) -> httpx.Response | None:
        match fate:
            case "lost request":
                return None
            case "limited":
                return httpx.Response(429, headers={"Retry-After": str(_RETRY_AFTER_S)})
            case "down":
                return httpx.Response(503)
            case "late":
                later = threading.Timer(late_s, self._apply, [request])
                later.daemon = True
                self._late.append(later)
                later.start()
                return None
            case "twice":
                self._apply(request)
        answer = self._apply(request)
        return None if fate == "lost answer" else answer

    def _apply(self, request: httpx.Request) -> httpx.Response:
        with self._lock:
            return self.world.apply(request)

    def all_arrived(self) -> bool:
        """Whether nothing is late any more."""
        return not any(timer.is_alive() for timer in self._late)


@contextmanager
def served(channels: Channels) -> Iterator[str]:
    """The server's URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.do_POST()

        def do_PUT(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            url = f"http://channels{self.path}"
            request = httpx.Request(self.command, url, headers=dict(self.headers), content=body)
            answer = channels.answer(request)
            if answer is None:
                return
            self.send_response(answer.status_code)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """The service was killed while it waited for the answer."""

    with running(Server(("127.0.0.1", 0), Handler)) as url:
        yield url
