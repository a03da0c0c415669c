"""Deploys and other changes, announced by who makes them: a webhook for pipelines."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from actions.aws.groups import GROUP_NAME
from receiver.api.params import Account, AccountField, Region, RegionField, Text, Time
from receiver.api.parts import parts_of, the_place
from receiver.controls import changes
from receiver.controls.records import Change
from receiver.http.access.auth import GuardedRoute, caller, require_on, require_role
from receiver.http.access.callers import Role, Subject
from receiver.http.openapi import answers
from receiver.runtime.rfc3339 import DAY_S, rfc3339

router = APIRouter(prefix="/api/v1/changes", route_class=GuardedRoute, tags=["changes"])

# A pipeline's clock may be a little ahead.
_AHEAD_S = 60.0


class ChangeBody(BaseModel):
    """A change of a group; without `asg`, of all that is in the account and region."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"asg": "web-asg", "comment": "web 1.2.3"}]},
    )

    asg: Annotated[str, StringConstraints(pattern=f"^{GROUP_NAME.pattern}$")] | None = None
    at: AwareDatetime | None = None
    comment: Text = Field(examples=["web 1.2.3"])
    account: Account | None = None
    region: Region | None = None


class ChangeView(BaseModel):
    asg: str | None = Field(examples=["web-asg"])
    at: Time
    comment: str = Field(examples=["web 1.2.3"])
    account: AccountField
    region: RegionField


_CREATED = answers(ChangeView, "The change.", 201)


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    openapi_extra=require_role(Role.OPERATOR),
    responses=_CREATED,
)
def announce_change(request: Request, body: ChangeBody) -> dict[str, Any]:
    """Announce a deploy or another change, now or within the last day."""
    parts, place = parts_of(request), the_place(request, body.account, body.region)
    require_on(request, Role.OPERATOR, Subject(account=place.account, service=body.asg))
    now = parts.clock()
    at = body.at.timestamp() if body.at else now
    if not now - DAY_S <= at <= now + _AHEAD_S:
        detail = "at must be within the last day"
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, detail)
    change = Change(at=min(at, now), what=body.comment, place=place, group=body.asg or "")
    with parts.database.write() as connection:
        changes.announce(connection, change, caller(request), now)
    return {
        "asg": body.asg,
        "at": rfc3339(change.at),
        "comment": body.comment,
        "account": place.account or None,
        "region": place.region or None,
    }
