"""What is at the other end of Slack, PagerDuty, Jira and a webhook: what people would see there."""

import json
from dataclasses import dataclass, field
from typing import Any

import httpx


@dataclass
class World:
    """After all that has arrived. The first part of a path is the channel's name."""

    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    threads: dict[str, list[str]] = field(default_factory=dict)
    pages: dict[str, str] = field(default_factory=dict)
    tickets: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    signatures: list[httpx.Headers] = field(default_factory=list)

    def apply(self, request: httpx.Request) -> httpx.Response:
        """The answer to a request that arrived."""
        body = json.loads(request.content) if request.content else {}
        match request.url.path.split("/")[1:]:
            case ["slack", method]:
                return self._slack(method, body)
            case ["pagerduty"]:
                return self._page(body)
            case ["jira", "rest", "api", "2", *parts]:
                return self._jira(request.method, parts, body)
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

    def _jira(self, method: str, parts: list[str], body: dict[str, Any]) -> httpx.Response:
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
