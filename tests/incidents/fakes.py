"""Slack, PagerDuty, Jira and a webhook at the edge of HTTP, over a network that is not kind.

Each keeps what people would see there. A schedule says what becomes of each request: its answer or
itself is lost, it arrives twice, or late, or it is refused for a while; or the process is cut off.
"""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.conftest import Clock

LATE_S = 60.0


class CutOffError(BaseException):
    """The process ends here: nothing after it is done."""


@dataclass
class World:
    """What is at the other end, after all that has arrived."""

    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    threads: dict[str, list[str]] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)
    tickets: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    signatures: list[httpx.Headers] = field(default_factory=list)

    def apply(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else {}
        match request.url.host:
            case "slack.example":
                return self._slack(request.url.path.rpartition("/")[2], body)
            case "pager.example":
                return self._page(body)
            case "jira.example":
                return self._jira(request.method, request.url.path, body)
        self.signatures.append(request.headers)
        self.events.append(body)
        return httpx.Response(204)

    def _slack(self, method: str, body: dict[str, Any]) -> httpx.Response:
        if method == "chat.update":
            if body["ts"] not in self.messages:
                return httpx.Response(200, json={"ok": False, "error": "message_not_found"})
            self.messages[body["ts"]] = body
            return httpx.Response(200, json={"ok": True, "ts": body["ts"]})
        ts = f"1700000000.{len(self.messages) + sum(map(len, self.threads.values())):06}"
        if thread := body.get("thread_ts"):
            self.threads.setdefault(thread, []).append(body["text"])
        else:
            self.messages[ts] = body
        return httpx.Response(200, json={"ok": True, "channel": "C0DE", "ts": ts})

    def _page(self, body: dict[str, Any]) -> httpx.Response:
        key, action = body["dedup_key"], body["event_action"]
        if action != "trigger" and key not in self.pages:
            return httpx.Response(202, json={"status": "success"})
        if not (action == "trigger" and self.pages.get(key) == "acknowledge"):
            self.pages[key] = action
        return httpx.Response(202, json={"status": "success", "dedup_key": key})

    def _jira(self, method: str, path: str, body: dict[str, Any]) -> httpx.Response:
        parts = path.removeprefix("/rest/api/2/").split("/")
        if parts == ["search", "jql"]:
            found = [k for k, t in self.tickets.items() if t["labels"][0] in body["jql"]]
            return httpx.Response(200, json={"issues": [{"key": key} for key in found[:1]]})
        if parts == ["issue"]:
            key = f"OPS-{len(self.tickets) + 1}"
            self.tickets[key] = {**body["fields"], "status": "To Do", "comments": []}
            return httpx.Response(201, json={"key": key})
        ticket = self.tickets[parts[1]]
        if method == "PUT":
            ticket.update(body["fields"])
        elif parts[2:] == ["comment"]:
            ticket["comments"].append(body["body"])
        elif method == "POST":
            ticket["status"] = {"1": "To Do", "2": "Done"}[body["transition"]["id"]]
        moves = [{"id": "1", "to": {"name": "To Do"}}, {"id": "2", "to": {"name": "Done"}}]
        fields = {"status": {"name": ticket["status"]}}
        return httpx.Response(200, json={"fields": fields, "transitions": moves})


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
