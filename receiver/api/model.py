"""The model in use, its scores from training, and its drift."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from receiver.api.parts import parts_of
from receiver.http.access.auth import GuardedRoute, require_role
from receiver.http.access.callers import Role
from receiver.http.openapi import answers

router = APIRouter(prefix="/api/v1/model", route_class=GuardedRoute, tags=["model"])


class Drifted(BaseModel):
    """Population stability indices; 0.25 and more is a large change, null is unknown."""

    features: float | None = Field(examples=[0.08])
    scores: float | None = Field(examples=[0.05])


class ModelView(BaseModel):
    """The model; `problem` is the reason if none is loaded, `card` was written at its training."""

    version: str | None = Field(examples=["model-3f2a9c1b7d10"])
    problem: str | None
    shadow: str | None
    drift: Drifted
    card: dict[str, Any] | None


_STORY = answers(ModelView, "The model in use.")


@router.get("", openapi_extra=require_role(Role.VIEWER), responses=_STORY)
def show_model(request: Request) -> dict[str, Any]:
    """The model in use, its card, and the drift of today's alerts from its training data."""
    return parts_of(request).model_server.status()
