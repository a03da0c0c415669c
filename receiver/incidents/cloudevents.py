"""Signed CloudEvents for everything else: each is the incident as it is now.

https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md (structured mode over HTTP),
signed by https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md.
"""

import base64
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from receiver.incidents.channel import TIMEOUT_S, call
from receiver.incidents.records import Line, Post
from receiver.incidents.view import IncidentView

_DONE = (200, 201, 202, 204)
# docs/incident-schema.json
SCHEMA = "urn:smartcloudops:incident:v1"


@dataclass(frozen=True, kw_only=True)
class CloudEvents:
    """`secret` reads the shared secret for each call; `clock` gives epoch seconds.

    A receiver knows an event that was repeated by its `id`, and a late one by its `time`.
    """

    client: httpx.Client
    url: str
    secret: Callable[[], str]
    clock: Callable[[], float]
    name: str = "cloudevents"
    threads: bool = False

    def wants(self, view: IncidentView, post: Post | None) -> bool:
        del view, post
        return True

    def show(self, view: IncidentView, post: Post) -> str:
        del post
        now = self.clock()
        event_id = f"{view.id}-{view.digest[:16]}"
        event = {
            "specversion": "1.0",
            "id": event_id,
            "source": "smartcloudops",
            "type": "smartcloudops.incident.changed",
            "subject": view.id,
            "time": datetime.fromtimestamp(now, UTC).isoformat(),
            "datacontenttype": "application/json",
            "dataschema": SCHEMA,
            "data": view.as_json(),
        }
        body = json.dumps(event).encode()
        headers = {
            "Content-Type": "application/cloudevents+json",
            "webhook-id": event_id,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": sign(self.secret(), event_id, str(int(now)), body),
        }
        request = self.client.build_request(
            "POST", self.url, content=body, headers=headers, timeout=TIMEOUT_S
        )
        call(self.client, request, answers=_DONE)
        return event_id

    def add_line(self, view: IncidentView, post: Post, line: Line) -> None:
        """It has no threads."""


def sign(secret: str, event_id: str, timestamp: str, body: bytes) -> str:
    """`v1,` and the base64 of the HMAC-SHA256 of `ID.TIMESTAMP.BODY`; of a `whsec_` secret's bytes.

    Raises ValueError where what follows `whsec_` is no base64.
    """
    plain = secret.removeprefix("whsec_")
    key = base64.b64decode(plain, validate=True) if plain != secret else secret.encode()
    signed = f"{event_id}.{timestamp}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}"
