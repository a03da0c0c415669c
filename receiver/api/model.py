"""The model that judges: which one, how well it did where it was made, and its drift."""

from typing import Any

from fastapi import APIRouter, Request

from receiver.api.parts import parts_of
from receiver.api.schemas import ModelStory
from receiver.http.auth import GuardedRoute, needs
from receiver.http.openapi import answers
from receiver.http.tokens import Role

router = APIRouter(prefix="/api/v1/model", route_class=GuardedRoute, tags=["model"])

_STORY = answers(ModelStory, "The model in use.")


@router.get("", openapi_extra=needs(Role.VIEWER), responses=_STORY)
def story(request: Request) -> dict[str, Any]:
    """The model in use, its card, and how far today's alerts have drifted from what it knows."""
    return parts_of(request).model_server.status()
