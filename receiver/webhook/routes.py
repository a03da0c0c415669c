"""Documents the webhooks in OpenAPI: `Deliveries` answers them, before the routes."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, HTTPException
from fastapi.routing import APIRoute
from pydantic import BaseModel

from receiver.http.access.auth import ROLE, SIGNATURE, GuardedRoute, require_role
from receiver.http.access.callers import Role
from receiver.http.openapi import answers
from receiver.http.problems import documented
from receiver.webhook.senders import ALERTMANAGER_PATH, GRAFANA_PATH
from receiver.webhook.sns.sender import SNS_PATH


class DeliveryCounts(BaseModel):
    """Each alert is counted once: new and firing, a duplicate, resolved, or rejected."""

    accepted: int
    duplicates: int
    resolved: int
    rejected: int


router = APIRouter(route_class=GuardedRoute, tags=["webhook"])
_UNREACHABLE = "unreachable: the application answers deliveries before its routes"

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


def _body(version: str) -> dict[str, Any]:
    """Not a declared parameter, because then the body would be parsed twice."""
    schema = {
        "type": "object",
        "required": ["version", "alerts"],
        "properties": {
            "version": {"const": version},
            "alerts": {"type": "array", "items": {"type": "object"}},
            "truncatedAlerts": {"type": "integer", "minimum": 0},
        },
    }
    content = {"application/json": {"schema": schema, "example": _EXAMPLE | {"version": version}}}
    return {"requestBody": {"required": True, "content": content}}


_STORED = answers(
    DeliveryCounts, "The alerts are stored. The body has the number of alerts of each result."
)
_SNS_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "text/plain": {"schema": {"type": "string", "contentMediaType": "application/json"}}
        },
    }
}
_SNS_ERRORS = documented(
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.SERVICE_UNAVAILABLE,
)


@router.post(
    ALERTMANAGER_PATH, openapi_extra=require_role(Role.WEBHOOK) | _body("4"), responses=_STORED
)
async def deliver() -> None:
    """Accept a delivery of Alertmanager (webhook version 4). Each alert is counted once."""
    raise RuntimeError(_UNREACHABLE)


@router.post(GRAFANA_PATH, openapi_extra=require_role(Role.WEBHOOK) | _body("1"), responses=_STORED)
async def deliver_grafana() -> None:
    """Accept a delivery of a Grafana contact point (webhook). No-data alerts are rejected."""
    raise RuntimeError(_UNREACHABLE)


async def deliver_sns() -> None:
    """Accept a message of Amazon SNS, signed by it, for a topic of SMARTCLOUDOPS_SNS_TOPICS."""
    raise HTTPException(HTTPStatus.NOT_FOUND, "SMARTCLOUDOPS_SNS_TOPICS is not set")


router.add_api_route(
    SNS_PATH,
    deliver_sns,
    methods=["POST"],
    response_model=None,
    openapi_extra={ROLE: SIGNATURE, "security": []} | _SNS_BODY,
    responses=_STORED | _SNS_ERRORS,
    # The signature is checked in place of a token.
    route_class_override=APIRoute,
)
