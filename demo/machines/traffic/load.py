"""The callers: a steady stream of requests to each load balancer, counted second by second.

Run as a program of its own, so that nothing else slows it, by its `FOLDER`. It reads there every
second `rates.json`, requests a second by URL, and `users.json`, users by URL: each asks for a
report, waits for it, and thinks before the next. It appends a line of JSON to `requests.jsonl` for
every second and URL: `time`, `url`, `sent`, `failed` (no answer, or a status of 500 and over) and
`slow` (answered after more than a second). A request counts in the second in which it was sent.
"""

import asyncio
import json
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

_PAGES = 300
_SLOW_S, _GIVE_UP_S = 1.0, 10.0
_ERROR = 500
_STEP_S = 0.05
_THINKS_S = 1.0
# Every request of a second has ended by so long after it.
_SETTLED_S = 11.0


class Callers:
    """Requests on the clock: a slow answer delays no other request."""

    def __init__(self, folder: Path, out: TextIO, settled_s: float) -> None:
        self._folder, self._out, self._settled_s = folder, out, settled_s
        self._counts: dict[tuple[int, str], Counter[str]] = defaultdict(Counter)
        self._tasks: set[asyncio.Task[None]] = set()
        self._users: dict[str, list[asyncio.Task[None]]] = defaultdict(list)
        self._number = 0

    async def run(self) -> None:
        """For ever."""
        owed: dict[str, float] = defaultdict(float)
        rates: dict[str, float] = {}
        read_at = last = time.time()
        while True:
            now = time.time()
            if now >= read_at:
                read_at = now + 1
                rates = self._read("rates.json") or rates
                self._invite(self._read("users.json"))
                self._write(now - self._settled_s)
            for url, rate in rates.items():
                owed[url] += rate * min(now - last, 1.0)
                while owed[url] >= 1:
                    owed[url] -= 1
                    self._begin(url, int(now))
            last = now
            await asyncio.sleep(_STEP_S)

    def _begin(self, url: str, second: int) -> None:
        self._number += 1
        task = asyncio.create_task(self._ask(url, second, f"/page/{self._number % _PAGES}"))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _read(self, name: str) -> dict[str, float]:
        """Empty where there is no such file, or half of it."""
        with suppress(OSError, ValueError):
            read: dict[str, float] = json.loads((self._folder / name).read_text())
            return read
        return {}

    def _invite(self, users: Mapping[str, float]) -> None:
        """Let so many users come to each URL, and those beyond go."""
        for url, count in users.items():
            present = self._users[url]
            while len(present) < count:
                present.append(asyncio.create_task(self._use(url, len(present))))
            while len(present) > count:
                present.pop().cancel()

    async def _use(self, url: str, user: int) -> None:
        await asyncio.sleep(_THINKS_S * random.random())
        while True:
            await self._ask(url, int(time.time()), f"/report/{user}")
            await asyncio.sleep(_THINKS_S)

    async def _ask(self, url: str, second: int, path: str) -> None:
        counts = self._counts[second, url]
        counts["sent"] += 1
        began = time.monotonic()
        try:
            async with asyncio.timeout(_GIVE_UP_S):
                status = await _get(url, path)
        except (OSError, TimeoutError, ValueError, IndexError):
            status = _ERROR
        counts["failed"] += status >= _ERROR
        counts["slow"] += time.monotonic() - began > _SLOW_S

    def _write(self, until: float) -> None:
        for second, url in sorted(key for key in self._counts if key[0] < until - 1):
            counts = self._counts.pop((second, url))
            line = {"time": second, "url": url}
            line |= {name: counts[name] for name in ("sent", "failed", "slow")}
            self._out.write(json.dumps(line) + "\n")
        self._out.flush()


async def _get(url: str, path: str) -> int:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n".encode())
        head = await reader.readline()
        await reader.read()
        return int(head.split()[1])
    finally:
        writer.close()


def main(folder: Path, settled_s: float = _SETTLED_S) -> None:
    """For ever; a second is written once it is over for `settled_s`."""
    with (folder / "requests.jsonl").open("a") as out:
        asyncio.run(Callers(folder, out, settled_s).run())


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(float, sys.argv[2:]))
