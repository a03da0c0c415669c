"""A network to Slack, PagerDuty, Jira and a webhook that is not kind.

A schedule says what becomes of each request: it or its answer is lost, it arrives twice, or late,
or it is refused for a while; or the process is cut off.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx

from bench.incidents.world import World
from tests.conftest import Clock

LATE_S = 60.0


class CutOffError(BaseException):
    """The process ends here: nothing after it is done."""


@dataclass
class Network:
    """What lies between. `fates` are asked for each request; `lost` counts lost answers."""

    world: World
    clock: Clock
    fates: Iterator[str]
    lost: int = 0
    _late: list[tuple[float, httpx.Request]] = field(default_factory=list)

    def client(self) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(self.answer))

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.arrive()
        match next(self.fates):
            case "lost request":
                raise httpx.ConnectError("lost", request=request)
            case "lost answer":
                self.world.apply(request)
                self._lose()
                raise httpx.ReadTimeout("lost", request=request)
            case "late" | "cut late" as fate:
                self._late.append((self.clock.now + random.uniform(1, LATE_S), request))  # noqa: S311
                self._lose()
                if fate == "cut late":
                    raise CutOffError
                raise httpx.ReadTimeout("late", request=request)
            case "twice":
                self.world.apply(request)
                self._lose()
            case "limited":
                return httpx.Response(429, headers={"Retry-After": "30"})
            case "down":
                return httpx.Response(503)
            case "cut before":
                raise CutOffError
            case "cut after":
                self.world.apply(request)
                self._lose()
                raise CutOffError
        return self.world.apply(request)

    def _lose(self) -> None:
        self.lost += 1

    def arrive(self, *, everything: bool = False) -> None:
        """What is late arrives, in any order."""
        due = [each for each in self._late if everything or each[0] <= self.clock.now]
        self._late = [each for each in self._late if each not in due]
        for _, request in sorted(due, key=lambda each: each[0]):
            self.world.apply(request)


_FATES = ("lost request", "lost answer", "late", "twice", "limited", "down", "cut before")


def unkind(chance: random.Random, share: float) -> Callable[[], str]:
    """What becomes of a request: a misfortune in this share of them."""

    def fate() -> str:
        if chance.random() >= share:
            return ""
        return chance.choice((*_FATES, "cut after", "cut late"))

    return fate
