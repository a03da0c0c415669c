"""The kill switch, the cooldowns, and the playbooks as they are loaded."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, HTTPException, Request

from actions import audit, breakers, claims, switch
from receiver.guarded import GuardedRoute, caller, needs
from receiver.routes.comments import Comment
from receiver.stories import told, when
from receiver.system import System
from receiver.tokens import Role

router = APIRouter(prefix="/api/v1", route_class=GuardedRoute, tags=["control"])


@router.post("/pause", openapi_extra=needs(Role.OPERATOR))
def pause(request: Request, body: Comment) -> dict[str, Any]:
    """Nothing acts from now on; alerts are still taken and decided."""
    return _turn(request, body, paused=True)


@router.post("/resume", openapi_extra=needs(Role.OPERATOR))
def resume(request: Request, body: Comment) -> dict[str, Any]:
    """Act again, on alerts that still fire."""
    return _turn(request, body, paused=False)


@router.get("/cooldowns", openapi_extra=needs(Role.VIEWER))
def cooldowns(request: Request) -> dict[str, Any]:
    """Targets that are held by a run, or were acted on a short while ago."""
    system: System = request.app.state.system
    with system.database.read() as connection:
        found = claims.cooling(connection, system.clock())
    items = [
        {
            "target": one.target,
            "run": one.run_id,
            "held": one.held,
            "until": when(one.cooldown_until),
        }
        for one in found
    ]
    return {"items": items, "next_cursor": None}


@router.delete("/cooldowns/{target}", openapi_extra=needs(Role.OPERATOR))
def cool(request: Request, target: str) -> dict[str, Any]:
    """End a target's cooldown; one that a run holds is left to it."""
    system: System = request.app.state.system
    now = system.clock()
    with system.database.write() as connection:
        ended = claims.cool(connection, target, now)
        if ended:
            event = audit.Event(
                actor=caller(request), event="cooldown_ended", detail={"target": target}
            )
            audit.append(connection, now, event)
    if not ended:
        raise HTTPException(HTTPStatus.NOT_FOUND, "the target has no cooldown that could be ended")
    return {"target": target}


@router.get("/playbooks", openapi_extra=needs(Role.VIEWER))
def playbooks(request: Request) -> dict[str, Any]:
    """As they are loaded, with how far each may go and the state of its breaker."""
    system: System = request.app.state.system
    with system.database.read() as connection:
        failed = breakers.every(connection)
    items = [told(one, failed.get(one.name)) for one in system.playbooks.items]
    return {"items": items, "next_cursor": None}


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
