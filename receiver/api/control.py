"""The kill switch, the cooldowns and the loaded playbooks."""

from http import HTTPStatus
from typing import Any

import structlog
from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, Field

from actions.audit import log
from actions.audit.archive import ArchiveError
from actions.audit.signed_heads import KeyFileError
from actions.execution import circuit_breakers, claims, kill_switch
from actions.execution.kill_switch import Switch
from receiver.api.arming import ArmingView
from receiver.api.audit import HEADS_UNREADABLE
from receiver.api.fields import INSTANCE, Id, Page, Time
from receiver.api.params import Comment, Cursor, Limit, TargetPath, Why
from receiver.api.parts import parts_of
from receiver.controls import arming
from receiver.controls.views import playbook_view
from receiver.http.access.auth import GuardedRoute, caller, require_role
from receiver.http.access.tokens import Role, Token
from receiver.http.openapi import answers
from receiver.http.problems import documented
from receiver.runtime.rfc3339 import rfc3339
from receiver.settings import Mode

_log = structlog.get_logger()
router = APIRouter(prefix="/api/v1", route_class=GuardedRoute, tags=["control"])


class Pause(Comment):
    everything: bool = Field(
        default=False, description="stop rollbacks and escalations, too; for the role admin only"
    )


class SwitchView(BaseModel):
    paused: bool
    everything: bool = Field(description="rollbacks and escalations are stopped, too")
    distrusted: bool = Field(description="the records cannot be trusted; only an admin may resume")
    comment: str = Field(examples=["deploying"])
    changed_by: str = Field(examples=["alice"])
    changed_at: Time


class CooldownView(BaseModel):
    """A cooldown; while `held` a run has the claim on the target, otherwise it ends at `until`."""

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
    goes: Mode = Field(description="the effective mode for a service without an arming of its own")
    armings: list[ArmingView]


class PlaybookPage(Page):
    items: list[PlaybookView]


_SWITCH = answers(SwitchView, "The state of the kill switch.")
_ENDED = answers(CooldownEnded, "The cooldown has ended.") | documented(HTTPStatus.NOT_FOUND)
_COOLDOWNS = answers(CooldownPage, "A page of cooldowns, by target.")
_PLAYBOOKS = answers(PlaybookPage, "A page of playbooks, by name.")


@router.post("/pause", openapi_extra=require_role(Role.OPERATOR), responses=_SWITCH)
def pause(request: Request, body: Pause) -> dict[str, Any]:
    """Start no new step from now on. Alerts are still accepted and decided.

    Steps already taken are still verified and, if needed, rolled back; people are still notified.
    An admin's pause of `everything` also stops rollbacks and escalations, until a person resumes.
    """
    if body.everything:
        _require_admin(request, "only the role admin may pause everything")
    parts, by = parts_of(request), caller(request)
    now, comment = parts.clock(), body.comment
    with parts.database.write() as connection:
        if body.everything:
            state = kill_switch.pause_everything(connection, by=by, comment=comment, now=now)
        else:
            state = kill_switch.set_paused(connection, paused=True, by=by, comment=comment, now=now)
    return _switch_view(state)


@router.post("/resume", openapi_extra=require_role(Role.OPERATOR), responses=_SWITCH)
def resume(request: Request, body: Comment) -> dict[str, Any]:
    """Resume: alerts that still fire are decided again.

    If the service paused itself because its records cannot be trusted (`distrusted`), this call
    also accepts the records as they are, and needs the role admin.
    """
    parts = parts_of(request)
    with parts.database.read() as connection:
        why = kill_switch.why_distrusted(connection)
    if why is not None:
        _require_admin(request, f"only the role admin may resume and accept the records: {why}")
    try:
        return _switch_view(parts.continuity.resume(by=caller(request), comment=body.comment))
    except (ArchiveError, KeyFileError) as error:
        _log.error("records_accept_failed", reason=str(error))
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, HEADS_UNREADABLE) from None


@router.get("/cooldowns", openapi_extra=require_role(Role.VIEWER), responses=_COOLDOWNS)
def list_cooldowns(
    request: Request, *, limit: Limit = 1000, cursor: Cursor | None = None
) -> dict[str, Any]:
    """Targets under a run's claim or under a cooldown."""
    parts = parts_of(request)
    with parts.database.read() as connection:
        active = claims.list_active(connection, parts.clock(), after=cursor or "", limit=limit + 1)
    items = [
        {
            "target": claim.target,
            "run": claim.run_id,
            "held": claim.held,
            "until": rfc3339(claim.cooldown_until),
        }
        for claim in active[:limit]
    ]
    return {"items": items, "next_cursor": items[-1]["target"] if len(active) > limit else None}


@router.delete("/cooldowns/{target}", openapi_extra=require_role(Role.OPERATOR), responses=_ENDED)
def clear_cooldown(
    request: Request, target: TargetPath, comment: Why | None = None
) -> dict[str, Any]:
    """End a target's cooldown. A target under a run's claim stays claimed."""
    parts = parts_of(request)
    now = parts.clock()
    with parts.database.write() as connection:
        ended = claims.clear_cooldown(connection, target, now)
        if ended:
            detail = {"target": target, "comment": comment}
            event = log.Event(actor=caller(request), event="cooldown_ended", detail=detail)
            log.append(connection, now, event)
    if not ended:
        raise HTTPException(HTTPStatus.NOT_FOUND, "the target has no cooldown to end")
    return {"target": target}


@router.get("/playbooks", openapi_extra=require_role(Role.VIEWER), responses=_PLAYBOOKS)
def list_playbooks(
    request: Request, *, limit: Limit = 1000, cursor: Cursor | None = None
) -> dict[str, Any]:
    """The loaded playbooks, each with its effective mode, armings and circuit breaker."""
    parts = parts_of(request)
    with parts.database.read() as connection:
        breakers, armings = circuit_breakers.read_all(connection), arming.list_all(connection)
    ordered = sorted(parts.playbooks.items, key=lambda playbook: playbook.name)
    after_cursor = [playbook for playbook in ordered if playbook.name > (cursor or "")]
    items = [
        playbook_view(
            playbook,
            breakers.get(playbook.name),
            records,
            parts.promoter.effective_mode(playbook, records),
        )
        for playbook in after_cursor[:limit]
        for records in [armings.get(playbook.name, ())]
    ]
    more = len(after_cursor) > limit
    return {"items": items, "next_cursor": items[-1]["name"] if more else None}


def _require_admin(request: Request, detail: str) -> None:
    token: Token = request.state.token
    if not token.role.may(Role.ADMIN):
        raise HTTPException(HTTPStatus.FORBIDDEN, detail)


def _switch_view(state: Switch) -> dict[str, Any]:
    return {**vars(state), "changed_at": rfc3339(state.changed_at)}
