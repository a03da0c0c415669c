"""The kill switch."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, StringConstraints

from actions import switch
from receiver.guarded import GuardedRoute, caller, needs
from receiver.stories import when
from receiver.system import System
from receiver.tokens import Role

router = APIRouter(prefix="/api/v1", route_class=GuardedRoute, tags=["control"])


class Comment(BaseModel):
    """Why: it goes into the audit with who and when."""

    model_config = ConfigDict(extra="forbid")

    comment: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]


@router.post("/pause", openapi_extra=needs(Role.OPERATOR))
def pause(request: Request, body: Comment) -> dict[str, Any]:
    """Nothing acts from now on; alerts are still taken and decided."""
    return _turn(request, body, paused=True)


@router.post("/resume", openapi_extra=needs(Role.OPERATOR))
def resume(request: Request, body: Comment) -> dict[str, Any]:
    """Act again, on alerts that still fire."""
    return _turn(request, body, paused=False)


def _turn(request: Request, body: Comment, *, paused: bool) -> dict[str, Any]:
    system: System = request.app.state.system
    with system.database.write() as connection:
        state = switch.turn(
            connection,
            paused=paused,
            by=caller(request),
            comment=body.comment,
            now=system.clock(),
        )
    return {
        "paused": state.paused,
        "comment": state.comment,
        "changed_by": state.changed_by,
        "changed_at": when(state.changed_at),
    }
