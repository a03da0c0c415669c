"""Alertmanager's deliveries: on disk before they are acknowledged, acted on later."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import APIRouter, HTTPException, Request, Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from receiver import alerts
from receiver.alerts import Alert, Envelope, NotJsonError, NotVersion4Error
from receiver.guarded import GuardedRoute, authorise, needs
from receiver.inbox import InboxUnavailableError
from receiver.problems import problem_of
from receiver.routes.answers import Receipt
from receiver.routes.asking import answers
from receiver.system import System
from receiver.tokens import Role

PATH = "/webhook/alertmanager"
_log = structlog.get_logger()
# Above this, taking a body apart would hold up every other request for too long.
_SMALL = 64 * 1024
# Longer than the database itself may take to say that it cannot.
_STORED_S = 12.0


class WebhookRoute(GuardedRoute):
    """Measures deliveries and counts those that are turned away.

    What FastAPI would do for a handler is left out: `deliver` needs none of it, and in a storm it
    costs more than the storing.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return _measured


async def direct(scope: Scope, receive: Receive, send: Send) -> None:
    """The same without the way through the application that leads to it."""
    request = Request(scope, receive)
    try:
        answer = await _measured(request)
    except HTTPException as error:
        answer = problem_of(request, error)
    await answer(scope, receive, send)


async def _measured(request: Request) -> Response:
    metrics = request.app.state.system.metrics
    started = time.perf_counter()
    try:
        authorise(request, Role.WEBHOOK)
        return await deliver(request)
    except HTTPException as error:
        metrics.webhook_rejected.labels(int(error.status_code)).inc()
        _log.warning("delivery_rejected", status=int(error.status_code), why=error.detail)
        raise
    except ClientDisconnect:
        # Nobody hears an answer.
        raise
    except Exception:
        metrics.webhook_rejected.labels(500).inc()
        raise
    finally:
        metrics.webhook_duration.observe(time.perf_counter() - started)


router = APIRouter(route_class=WebhookRoute, tags=["webhook"])


_EXAMPLE = {
    "version": "4",
    "status": "firing",
    "alerts": [
        {
            "status": "firing",
            "labels": {
                "alertname": "HighCPU",
                "severity": "warning",
                "instance_id": "i-0a1b2c3d4e5f60718",
                "asg": "web-asg",
            },
            "annotations": {"summary": "CPU above 90 %"},
            "startsAt": "2026-11-23T06:39:31.435Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "fingerprint": "d76ace51dbbb114a",
        }
    ],
}
# Read by hand: as a declared parameter the body would be taken apart twice.
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["version", "alerts"],
                    "properties": {
                        "version": {"const": "4"},
                        "alerts": {"type": "array", "items": {"type": "object"}},
                        "truncatedAlerts": {"type": "integer", "minimum": 0},
                    },
                },
                "example": _EXAMPLE,
            }
        },
    }
}


@router.post(
    PATH,
    openapi_extra=needs(Role.WEBHOOK) | _BODY,
    responses=answers(Receipt, "On disk; how many of each kind."),
)
async def deliver(request: Request) -> Response:
    """Take a delivery of Alertmanager (webhook version 4). Each alert is counted once."""
    system: System = request.app.state.system
    now = system.clock()
    body = await request.body()
    try:
        if len(body) < _SMALL:
            envelope, taken = _apart(body, now)
        else:
            envelope, taken = await asyncio.to_thread(_apart, body, now)
    except NotJsonError as error:
        raise HTTPException(HTTPStatus.BAD_REQUEST, str(error)) from None
    except NotVersion4Error as error:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
    try:
        async with asyncio.timeout(_STORED_S):
            receipt = await asyncio.wrap_future(
                system.inbox.submit(taken, now, request_id=request.state.request_id)
            )
    except InboxUnavailableError as error:
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from None
    except TimeoutError:
        # If they are stored later after all, the next delivery of them is a repeat.
        late = f"not stored within {_STORED_S:.0f} s"
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, late) from None
    for status, firing in (("firing", True), ("resolved", False)):
        count = sum(alert.firing is firing for alert in taken)
        system.metrics.alerts_received.labels(status).inc(count)
    system.metrics.alerts_duplicate.inc(receipt.duplicates)
    if envelope.truncated:
        system.metrics.alerts_truncated.inc(envelope.truncated)
        system.truncated.fetch(envelope)
    counts = vars(receipt) | {"rejected": len(envelope.alerts) - len(taken)}
    return Response(json.dumps(counts), media_type="application/json")


def _apart(body: bytes, now: float) -> tuple[Envelope, Sequence[Alert]]:
    envelope = alerts.envelope(body)
    found = (alerts.alert(raw, now) for raw in envelope.alerts)
    return envelope, [alert for alert in found if alert is not None]
