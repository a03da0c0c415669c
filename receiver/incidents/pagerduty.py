"""Pages for incidents that need a person, each with one deduplication key.

https://developer.pagerduty.com/docs/events-api-v2-overview: events of one `dedup_key` are one
alert; a rate limit is 429.
"""

from collections.abc import Callable
from dataclasses import dataclass

import httpx

from receiver.incidents.channel import TIMEOUT_S, call
from receiver.incidents.records import Line, Post
from receiver.incidents.view import IncidentView, Status

_SUMMARY_MOST = 1024


@dataclass(frozen=True, kw_only=True)
class PagerDuty:
    """`key` reads the integration's key for each call."""

    client: httpx.Client
    url: str
    key: Callable[[], str]
    severity: str
    name: str = "pagerduty"
    threads: bool = False

    def wants(self, view: IncidentView, post: Post | None) -> bool:
        return post is not None or view.needs_person

    def show(self, view: IncidentView, post: Post) -> str:
        del post
        event = {
            "routing_key": self.key(),
            "dedup_key": f"smartcloudops-{view.id}",
            "event_action": self._action(view),
            "payload": {
                "summary": view.title[:_SUMMARY_MOST],
                "source": view.where,
                "severity": self.severity,
                "custom_details": {"text": "\n".join(view.lines())},
            },
            "links": [{"href": view.url, "text": "The run"}] if view.url else [],
        }
        request = self.client.build_request("POST", self.url, json=event, timeout=TIMEOUT_S)
        call(self.client, request, answers=(202,))
        return f"smartcloudops-{view.id}"

    def add_line(self, view: IncidentView, post: Post, line: Line) -> None:
        """It has no threads."""

    @staticmethod
    def _action(view: IncidentView) -> str:
        match view.status:
            case Status.OVER:
                return "resolve"
            case Status.ACKNOWLEDGED:
                return "acknowledge"
            case Status.WAITS | Status.NEEDS_PERSON | Status.UNDER_WAY:
                # Not acknowledged while a run is under way: a later failure would page nobody.
                return "trigger"
