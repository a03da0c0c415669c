"""Subscriptions to topics of Amazon SNS that wait for an admin."""

from http import HTTPStatus
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, HTTPException, Request
from fastapi import Path as PathParameter
from pydantic import BaseModel, Field

from actions.aws.errors import AWS_ERRORS, classify
from receiver.api.params import Comment, Page, Time
from receiver.api.parts import parts_of
from receiver.http.access.auth import GuardedRoute, caller, require_role
from receiver.http.access.callers import Role
from receiver.http.openapi import answers
from receiver.http.problems import documented
from receiver.runtime.rfc3339 import rfc3339
from receiver.webhook.sns.subscriptions import Subscription

router = APIRouter(prefix="/api/v1/sns", route_class=GuardedRoute, tags=["control"])
_log = structlog.get_logger()
SubscriptionId = Annotated[str, PathParameter(pattern=r"^[A-Za-z0-9_-]{1,100}$")]


class SubscriptionView(BaseModel):
    id: str = Field(examples=["165545c9-2a5c-472c-8df2-7ff2be2b3b1b"])
    topic: str = Field(examples=["arn:aws:sns:eu-west-1:123456789012:alerts"])
    requested_at: Time


class SubscriptionPage(Page):
    items: list[SubscriptionView]


_PAGE = answers(SubscriptionPage, "All subscriptions that wait, oldest first.")
_CONFIRMED = answers(SubscriptionView, "The subscription is confirmed: SNS delivers.")
_ERRORS = documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)


@router.get(
    "/subscriptions", openapi_extra=require_role(Role.ADMIN, everything=True), responses=_PAGE
)
def list_subscriptions(request: Request) -> dict[str, Any]:
    """Subscriptions to allowed topics that wait for a confirmation."""
    waiting = parts_of(request).subscriptions.list_waiting()
    return {"items": [_view(subscription) for subscription in waiting], "next_cursor": None}


@router.post(
    "/subscriptions/{subscription_id}/confirm",
    openapi_extra=require_role(Role.ADMIN, everything=True),
    responses=_CONFIRMED | _ERRORS,
)
def confirm_subscription(
    request: Request, subscription_id: SubscriptionId, body: Comment
) -> dict[str, Any]:
    """Confirm a subscription at AWS; from then on SNS delivers the topic's messages."""
    subscriptions = parts_of(request).subscriptions
    try:
        confirmed = subscriptions.confirm_by(
            subscription_id, by=caller(request), comment=body.comment
        )
    except AWS_ERRORS as error:
        name = classify(error).name
        _log.warning("sns_confirmation_failed", id=subscription_id, error=name)
        raise HTTPException(HTTPStatus.CONFLICT, f"AWS did not confirm it: {name}") from None
    if confirmed is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "no such subscription waits")
    return _view(confirmed)


def _view(subscription: Subscription) -> dict[str, Any]:
    return {
        "id": subscription.id,
        "topic": subscription.topic,
        "requested_at": rfc3339(subscription.at),
    }
