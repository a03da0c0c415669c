"""The kill switch, the cooldowns, and the playbooks as they are loaded."""

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, Field

from actions.audit import log
from actions.execution import circuit_breakers, claims, kill_switch
from receiver.api.arming import ArmingView
from receiver.api.comment import Comment
from receiver.api.fields import INSTANCE, Id, Page, Time
from receiver.api.params import Cursor, Limit, TargetPath, Why
from receiver.api.parts import parts_of
from receiver.controls import arming
from receiver.controls.views import playbook_view
from receiver.http.auth import GuardedRoute, caller, needs
from receiver.http.openapi import answers
from receiver.http.problems import documented
from receiver.http.tokens import Role
from receiver.runtime.rfc3339 import rfc3339
from receiver.settings import Mode

router = APIRouter(prefix="/api/v1", route_class=GuardedRoute, tags=["control"])


class SwitchView(BaseModel):
    paused: bool
    comment: str = Field(examples=["deploying"])
    changed_by: str = Field(examples=["alice"])
    changed_at: Time


class CooldownView(BaseModel):
    """`held`: a run works on the target; else it may be acted on again at `until`."""

    target: str = Field(examples=[INSTANCE])
    run: Id
    held: bool
    until: Time


class CooldownPage(Page):
    items: list[CooldownView]


class CooldownEnded(BaseModel):
    target: str = Field(examples=[INSTANCE])


class PlaybookView(BaseModel):
    name: str = Field(examples=["high-cpu"])
    description: str
    match: list[str] = Field(examples=[['alertname="HighCPU"']])
    mode: Mode
    digest: str
    cooldown_s: float
    limits: dict[str, Any]
    undecided: dict[str, Any]
    steps: list[dict[str, Any]]
    rollback: bool
    breaker: dict[str, Any]
    goes: Mode = Field(description="how far it may go where no service says otherwise")
    armings: list[ArmingView]


class PlaybookPage(Page):
    items: list[PlaybookView]


_SWITCH = answers(SwitchView, "The kill switch as it stands now.")
_ENDED = answers(CooldownEnded, "It is over.") | documented(HTTPStatus.NOT_FOUND)
_COOLDOWNS = answers(CooldownPage, "A page of cooldowns, by target.")
_PLAYBOOKS = answers(PlaybookPage, "A page of playbooks, by name.")


@router.post("/pause", openapi_extra=needs(Role.OPERATOR), responses=_SWITCH)
def pause(request: Request, body: Comment) -> dict[str, Any]:
    """Nothing acts from now on; alerts are still taken and decided."""
    return _turn(request, body, paused=True)


@router.post("/resume", openapi_extra=needs(Role.OPERATOR), responses=_SWITCH)
def resume(request: Request, body: Comment) -> dict[str, Any]:
    """Act again, on alerts that still fire."""
    return _turn(request, body, paused=False)


@router.get("/cooldowns", openapi_extra=needs(Role.VIEWER), responses=_COOLDOWNS)
def cooldowns(
    request: Request, *, limit: Limit = 1000, cursor: Cursor | None = None
) -> dict[str, Any]:
    """Targets that are held by a run, or were acted on a short while ago."""
    parts = parts_of(request)
    with parts.database.read() as connection:
        found = claims.list_active(connection, parts.clock(), after=cursor or "", limit=limit + 1)
    items = [
        {
            "target": one.target,
            "run": one.run_id,
            "held": one.held,
            "until": rfc3339(one.cooldown_until),
        }
        for one in found[:limit]
    ]
    return {"items": items, "next_cursor": items[-1]["target"] if len(found) > limit else None}


@router.delete("/cooldowns/{target}", openapi_extra=needs(Role.OPERATOR), responses=_ENDED)
def cool(request: Request, target: TargetPath, comment: Why | None = None) -> dict[str, Any]:
    """End a target's cooldown; one that a run holds is left to it."""
    parts = parts_of(request)
    now = parts.clock()
    with parts.database.write() as connection:
        ended = claims.clear_cooldown(connection, target, now)
        if ended:
            detail = {"target": target, "comment": comment}
            event = log.Event(actor=caller(request), event="cooldown_ended", detail=detail)
            log.append(connection, now, event)
    if not ended:
        raise HTTPException(HTTPStatus.NOT_FOUND, "the target has no cooldown that could be ended")
    return {"target": target}


@router.get("/playbooks", openapi_extra=needs(Role.VIEWER), responses=_PLAYBOOKS)
def playbooks(
    request: Request, *, limit: Limit = 1000, cursor: Cursor | None = None
) -> dict[str, Any]:
    """As they are loaded, with how far each may go, who armed it, and its breaker."""
    parts = parts_of(request)
    with parts.database.read() as connection:
        failed, armings = circuit_breakers.read_all(connection), arming.list_all(connection)
    ordered = sorted(parts.playbooks.items, key=lambda one: one.name)
    found = [one for one in ordered if one.name > (cursor or "")]
    items = [
        playbook_view(one, failed.get(one.name), known, parts.promoter.effective_mode(one, known))
        for one in found[:limit]
        for known in [armings.get(one.name, ())]
    ]
    return {"items": items, "next_cursor": items[-1]["name"] if len(found) > limit else None}


def _turn(request: Request, body: Comment, *, paused: bool) -> dict[str, Any]:
    parts = parts_of(request)
    with parts.database.write() as connection:
        state = kill_switch.set_paused(
            connection,
            paused=paused,
            by=caller(request),
            comment=body.comment,
            now=parts.clock(),
        )
    return {
        "paused": state.paused,
        "comment": state.comment,
        "changed_by": state.changed_by,
        "changed_at": rfc3339(state.changed_at),
    }
