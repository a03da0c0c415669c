"""The callers: a steady stream of requests to each load balancer, counted second by second.

Run as a program of its own, so that nothing else slows it, by its `FOLDER`. It reads `rates.json`
there every second, requests a second by URL, and appends a line of JSON to `requests.jsonl` for
every second and URL: `time`, `url`, `sent`, `failed` (no answer, or a status of 500 and over) and
`slow` (answered after more than a second). A request counts in the second in which it was sent.
"""

import asyncio
import json
import sys
import time
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

_PAGES = 300
_SLOW_S, _GIVE_UP_S = 1.0, 10.0
_ERROR = 500
_STEP_S = 0.05
# Every request of a second has ended by so long after it.
_SETTLED_S = 11.0


class Callers:
    """Requests on the clock: a slow answer delays no other request."""

    def __init__(self, folder: Path, out: TextIO, settled_s: float) -> None:
        self._folder, self._out, self._settled_s = folder, out, settled_s
        self._counts: dict[tuple[int, str], Counter[str]] = defaultdict(Counter)
        self._tasks: set[asyncio.Task[None]] = set()
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
                with suppress(OSError, ValueError):
                    rates = json.loads((self._folder / "rates.json").read_text())
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
        task = asyncio.create_task(self._ask(url, second, self._number % _PAGES))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, url: str, second: int, page: int) -> None:
        counts = self._counts[second, url]
        counts["sent"] += 1
        began = time.monotonic()
        try:
            async with asyncio.timeout(_GIVE_UP_S):
                status = await _get(url, page)
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


async def _get(url: str, page: int) -> int:
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(
            f"GET /page/{page} HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n\r\n".encode()
        )
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
