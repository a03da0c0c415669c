"""The kill switch and the cooldowns."""

from http import HTTPStatus
from typing import Any

import structlog
from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, Field

from actions.audit.archive import ArchiveError
from actions.audit.signed_heads import KeyFileError
from actions.execution import kill_switch
from actions.execution.kill_switch import Switch
from actions.place import HOME, Place
from receiver.api.audit import HEADS_UNREADABLE
from receiver.api.params import (
    Account,
    AccountField,
    Comment,
    Region,
    RegionField,
    Time,
)
from receiver.api.parts import parts_of, require_known
from receiver.http.access.auth import (
    GuardedRoute,
    caller,
    caller_of,
    require_on,
    require_role,
)
from receiver.http.access.callers import Role, Subject
from receiver.http.openapi import answers
from receiver.runtime.rfc3339 import rfc3339

_log = structlog.get_logger()
router = APIRouter(prefix="/api/v1", route_class=GuardedRoute, tags=["control"])


class Resume(Comment):
    """Of everything, or of the account, the region, or the account's region that is named."""

    account: Account | None = None
    region: Region | None = None


class Pause(Resume):
    everything: bool = Field(
        default=False, description="stop rollbacks and escalations, too; for the role admin only"
    )


class PauseView(BaseModel):
    account: AccountField
    region: RegionField
    comment: str = Field(examples=["deploying"])
    changed_by: str = Field(examples=["alice"])
    changed_at: Time


class SwitchView(BaseModel):
    """Of the account and region that the call names, or of everything."""

    paused: bool
    account: AccountField
    region: RegionField
    pauses: list[PauseView] = Field(description="the pauses of accounts and regions")
    everything: bool = Field(description="rollbacks and escalations are stopped, too")
    distrusted: bool = Field(description="the records cannot be trusted; only an admin may resume")
    comment: str = Field(examples=["deploying"])
    changed_by: str = Field(examples=["alice"])
    changed_at: Time


_SWITCH = answers(SwitchView, "The state of the kill switch.")


@router.post("/pause", openapi_extra=require_role(Role.OPERATOR), responses=_SWITCH)
def pause(request: Request, body: Pause) -> dict[str, Any]:
    """Start no new step from now on. Alerts are still accepted and decided.

    Steps already taken are still verified and, if needed, rolled back; people are still notified.
    An admin's pause of `everything` also stops rollbacks and escalations, until a person resumes.
    """
    require_on(request, Role.OPERATOR, Subject(account=body.account))
    if body.everything:
        _require_admin(request, "only the role admin may pause everything")
    if body.account or body.region:
        return _set_paused_at(request, body, paused=True)
    parts, by = parts_of(request), caller(request)
    now, comment = parts.clock(), body.comment
    with parts.database.write() as connection:
        if body.everything:
            state = kill_switch.pause_everything(connection, by=by, comment=comment, now=now)
        else:
            state = kill_switch.set_paused(connection, paused=True, by=by, comment=comment, now=now)
    return _switch_view(request, state)


@router.post("/resume", openapi_extra=require_role(Role.OPERATOR), responses=_SWITCH)
def resume(request: Request, body: Resume) -> dict[str, Any]:
    """Resume: alerts that still fire are decided again. Other pauses than the named one go on.

    If the service paused itself because its records cannot be trusted (`distrusted`), this call
    also accepts the records as they are, and needs the role admin.
    """
    require_on(request, Role.OPERATOR, Subject(account=body.account))
    if body.account or body.region:
        return _set_paused_at(request, body, paused=False)
    parts = parts_of(request)
    with parts.database.read() as connection:
        why = kill_switch.why_distrusted(connection)
    if why is not None:
        _require_admin(request, f"only the role admin may resume and accept the records: {why}")
    try:
        state = parts.continuity.resume(by=caller(request), comment=body.comment)
    except (ArchiveError, KeyFileError) as error:
        _log.error("records_accept_failed", reason=str(error))
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, HEADS_UNREADABLE) from None
    return _switch_view(request, state)


def _require_admin(request: Request, detail: str) -> None:
    if not caller_of(request).may_everywhere(Role.ADMIN):
        raise HTTPException(HTTPStatus.FORBIDDEN, detail)


def _set_paused_at(request: Request, body: Resume, *, paused: bool) -> dict[str, Any]:
    """Pause or resume an account, a region, or a region of an account."""
    if isinstance(body, Pause) and body.everything:
        detail = "everything is stopped in all accounts and regions, or not"
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, detail)
    place, parts = require_known(request, body.account, body.region), parts_of(request)
    change = kill_switch.Pause(
        **vars(place), comment=body.comment, changed_by=caller(request), changed_at=parts.clock()
    )
    with parts.database.write() as connection:
        kill_switch.set_paused_at(connection, change, paused=paused)
    state = Switch(
        paused=paused,
        comment=change.comment,
        changed_by=change.changed_by,
        changed_at=change.changed_at,
    )
    return _switch_view(request, state, place)


def _switch_view(request: Request, state: Switch, place: Place = HOME) -> dict[str, Any]:
    with parts_of(request).database.read() as connection:
        pauses = kill_switch.list_pauses(connection)
    return {
        **vars(state),
        "changed_at": rfc3339(state.changed_at),
        "account": place.account or None,
        "region": place.region or None,
        "pauses": [_pause_view(pause) for pause in pauses],
    }


def _pause_view(pause: kill_switch.Pause) -> dict[str, Any]:
    return {
        **vars(pause),
        "account": pause.account or None,
        "region": pause.region or None,
        "changed_at": rfc3339(pause.changed_at),
    }
