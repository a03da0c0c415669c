"""The webhook in the OpenAPI document; `receiver.webhook.endpoint` answers it."""

from fastapi import APIRouter

from receiver.api.schemas import Receipt
from receiver.http.auth import GuardedRoute, needs
from receiver.http.openapi import answers
from receiver.http.tokens import Role
from receiver.webhook.endpoint import PATH

router = APIRouter(route_class=GuardedRoute, tags=["webhook"])


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
async def deliver() -> None:
    """Take a delivery of Alertmanager (webhook version 4). Each alert is counted once."""
    raise RuntimeError("the application answers deliveries before its routes are asked")
