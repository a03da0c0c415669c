"""The cooldowns of targets."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from pydantic import BaseModel, Field
from sqlalchemy import Connection

from actions.audit import log
from actions.execution import claims
from actions.place import Place
from actions.reasons import Reason
from receiver.api.params import (
    INSTANCE,
    Account,
    AccountField,
    Cursor,
    Id,
    Limit,
    Page,
    Region,
    RegionField,
    TargetPath,
    Time,
    Why,
)
from receiver.api.parts import may_see_runs, parts_of, the_place
from receiver.http.access.auth import (
    GuardedRoute,
    caller,
    caller_of,
    require_on,
    require_role,
)
from receiver.http.access.callers import Role, Subject
from receiver.http.openapi import answers
from receiver.http.problems import documented
from receiver.runs.subjects import subjects_by_run
from receiver.runtime.rfc3339 import rfc3339

# Between the parts of a cursor.
_CURSOR = "/"
router = APIRouter(prefix="/api/v1", route_class=GuardedRoute, tags=["control"])


class CooldownView(BaseModel):
    """A cooldown; while `held` a run has the claim on the target, otherwise it ends at `until`."""

    target: str = Field(examples=[INSTANCE])
    account: AccountField
    region: RegionField
    run: Id
    held: bool
    until: Time


class CooldownPage(Page):
    items: list[CooldownView]


class CooldownEnded(BaseModel):
    target: str = Field(examples=[INSTANCE])


_ENDED = answers(CooldownEnded, "The cooldown has ended.") | documented(HTTPStatus.NOT_FOUND)
_COOLDOWNS = answers(CooldownPage, "A page of cooldowns, by target.")


@router.get("/cooldowns", openapi_extra=require_role(Role.VIEWER), responses=_COOLDOWNS)
def list_cooldowns(
    request: Request,
    *,
    account: Annotated[Account | None, Query()] = None,
    region: Annotated[Region | None, Query()] = None,
    limit: Limit = 1000,
    cursor: Cursor | None = None,
) -> dict[str, Any]:
    """Targets under a run's claim or under a cooldown."""
    parts = parts_of(request)
    # A group's name may have spaces, an account and a region have none.
    after = [*(cursor or "").rsplit(_CURSOR, 2), "", ""][:3]
    with parts.database.read() as connection:
        active = claims.list_active(
            connection,
            parts.clock(),
            within=Place(account or "", region or ""),
            after=(after[0], after[1], after[2]),
            limit=limit + 1,
        )
        shown = may_see_runs(request, connection, [claim.run_id for claim in active])
    items = [
        {
            "target": claim.target,
            "account": claim.place.account or None,
            "region": claim.place.region or None,
            "run": claim.run_id,
            "held": claim.held,
            "until": rfc3339(claim.cooldown_until),
        }
        for claim in active[:limit]
        if claim.run_id in shown
    ]
    last = active[limit - 1] if len(active) > limit else None
    following = _CURSOR.join((last.target, *vars(last.place).values())) if last else None
    return {"items": items, "next_cursor": following}


@router.delete("/cooldowns/{target}", openapi_extra=require_role(Role.OPERATOR), responses=_ENDED)
def clear_cooldown(
    request: Request,
    target: TargetPath,
    comment: Why | None = None,
    account: Annotated[Account | None, Query()] = None,
    region: Annotated[Region | None, Query()] = None,
) -> dict[str, Any]:
    """End a target's cooldown, so that its alerts are decided again.

    A target under a run's claim stays claimed.

    With several accounts or regions, the target's own are needed.
    """
    place, parts = the_place(request, account, region), parts_of(request)
    now = parts.clock()
    if not caller_of(request).may_everywhere(Role.OPERATOR):
        with parts.database.read() as connection:
            require_on(request, Role.OPERATOR, _subject(connection, place, target, now))
    with parts.database.write() as connection:
        ended = claims.clear_cooldown(connection, place, target, now)
        if ended:
            named = {name: value for name, value in vars(place).items() if value}
            detail = {"target": target, **named, "comment": comment}
            event = log.Event(actor=caller(request), event="cooldown_ended", detail=detail)
            log.append(connection, now, event)
    if not ended:
        raise HTTPException(HTTPStatus.NOT_FOUND, "the target has no cooldown to end")
    parts.commands.lifted(Reason.COOLDOWN)
    return {"target": target}


def _subject(connection: Connection, place: Place, target: str, now: float) -> Subject:
    """What the run is about to which the target's cooldown belongs."""
    active = claims.list_active(connection, now, within=place)
    run_ids = [claim.run_id for claim in active if claim.target == target]
    found = subjects_by_run(connection, run_ids)
    return found.get(run_ids[0], Subject()) if run_ids else Subject()
