"""The loaded playbooks; arms them, and disarms them at once."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from actions.aws.groups import GROUP_NAME
from actions.execution import circuit_breakers
from actions.place import Place
from receiver.api.params import (
    Account,
    AccountField,
    Comment,
    Cursor,
    Limit,
    Page,
    PlaybookName,
    Region,
    RegionField,
    Time,
)
from receiver.api.parts import parts_of, require_known, the_place
from receiver.controls import arming
from receiver.controls.promotion import ArmRequest, NoSuchPlaybookError, NotJustifiedError
from receiver.controls.records import ALL, Arming
from receiver.controls.views import arming_view, playbook_view
from receiver.http.access.auth import (
    GuardedRoute,
    caller,
    caller_of,
    require_on,
    require_role,
)
from receiver.http.access.callers import Role, Scope, Subject
from receiver.http.openapi import answers
from receiver.http.problems import documented
from receiver.settings import Mode

router = APIRouter(prefix="/api/v1/playbooks", route_class=GuardedRoute, tags=["control"])


class Justification(BaseModel):
    """Counts of the runs since `since` in which this playbook, unchanged, planned a step.

    Dry runs are not counted.
    """

    since: Time | None
    planned: int
    observed: int
    acted: int
    recovered: int = Field(description="verified by metrics")
    failed: int = Field(description="or rolled back")
    denied: int = Field(description="by a person, when asked for approval")
    right: int = Field(description="decisions that people marked right")
    wrong: int = Field(description="decisions that people marked wrong")
    incidents: int | None = Field(
        default=None, description="of 90 days in which it is known whether it was right"
    )
    agreed: int | None = Field(default=None, description="of these incidents, in which it was")
    agreement_low: float | None = Field(
        default=None, description="the lower 95 % bound of that share (Wilson)"
    )
    agreement_high: float | None = None
    relapsed: int | None = Field(default=None, description="recoveries that did not last")
    harmed: int | None = Field(default=None, description="acts that people marked wrong")
    lift: dict[str, Any] | None = Field(
        default=None,
        description="what acting brings against waiting, by the hold-outs: `recovery`, a difference"
        " of shares, and `sooner_s`, each with `value`, `low` and `high`; null below ten in each",
    )
    earned: bool | None = Field(
        default=None, description="whether the bounds were met: it falls once they are not"
    )


class ArmingView(BaseModel):
    """The mode that people allow a playbook; `observe` means disarmed.

    Without a `service` it applies to all services that have no arming of their own. `since` is the
    time of the last change of the mode, `at` of any change. `despite` lists the criteria that the
    record did not meet when an admin forced the arming.
    """

    service: str | None = Field(examples=["web-asg"])
    account: AccountField
    region: RegionField
    mode: Mode
    canary_percent: int
    by: str = Field(examples=["alice"])
    comment: str = Field(examples=["two weeks of right decisions"])
    at: Time
    since: Time
    changed: bool = Field(
        description="the playbook has changed since the arming, so it only observes"
    )
    justification: Justification | None
    despite: list[str] = Field(examples=[[]])


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
    breaker: dict[str, Any] = Field(description="the worst of `breakers`")
    breakers: list[dict[str, Any]] = Field(description="by account and region")
    goes: Mode = Field(description="the effective mode for a service without an arming of its own")
    armings: list[ArmingView]


class PlaybookPage(Page):
    items: list[PlaybookView]


_Service = Annotated[str, StringConstraints(pattern=f"^{GROUP_NAME.pattern}$")]
_EXAMPLE: JsonDict = {
    "mode": "approve",
    "service": "web-asg",
    "canary_percent": 25,
    "comment": "two weeks of right decisions",
}
_NOT_FOUND = documented(HTTPStatus.NOT_FOUND)
_ARMED = answers(ArmingView, "The arming.")
_DISARMED = answers(ArmingView, "The arming; the playbook only observes now.")


class DisarmBody(Comment):
    """Without a `service` it disarms all services, including those with an arming of their own.

    In one `account` and `region`, or without them in each; a service is in one.
    """

    service: _Service | None = Field(default=None, examples=["web-asg"])
    account: Account | None = None
    region: Region | None = None


class ArmBody(DisarmBody):
    """Without a `service` it arms all services that have no arming of their own.

    With several accounts or regions, the `account` and `region` are needed.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    mode: Literal[Mode.APPROVE, Mode.AUTO]
    canary_percent: Annotated[int, Field(ge=1, le=100)] = 100
    force: bool = Field(
        default=False, description="arm even if its track record does not justify it"
    )


_PLAYBOOKS = answers(PlaybookPage, "A page of playbooks, by name.")


@router.get("", openapi_extra=require_role(Role.VIEWER), responses=_PLAYBOOKS)
def list_playbooks(
    request: Request, *, limit: Limit = 1000, cursor: Cursor | None = None
) -> dict[str, Any]:
    """The loaded playbooks, each with its effective mode, armings and circuit breaker."""
    parts = parts_of(request)
    with parts.database.read() as connection:
        breakers, armings = circuit_breakers.read_all(connection), arming.list_all(connection)
    scopes = caller_of(request).scopes(Role.VIEWER)
    seen = [each for each in parts.playbooks.items if _is_seen(scopes, playbook=each.name)]
    ordered = sorted(seen, key=lambda playbook: playbook.name)
    after_cursor = [playbook for playbook in ordered if playbook.name > (cursor or "")]
    items = [
        playbook_view(
            playbook,
            [each for each in breakers if each.playbook == playbook.name],
            [record for record in records if _is_seen(scopes, record=record)],
            parts.promoter.effective_mode(playbook, records),
        )
        for playbook in after_cursor[:limit]
        for records in [armings.get(playbook.name, ())]
    ]
    more = len(after_cursor) > limit
    return {"items": items, "next_cursor": items[-1]["name"] if more else None}


@router.post(
    "/{name}/arm",
    openapi_extra=require_role(Role.ADMIN),
    responses=_ARMED | _NOT_FOUND | documented(HTTPStatus.CONFLICT),
)
def arm(request: Request, name: PlaybookName, body: ArmBody) -> dict[str, Any]:
    """Set a playbook's mode, if its track record justifies it; 409 names the unmet criteria."""
    parts = parts_of(request)
    _require_on(request, name, body)
    try:
        record = parts.promoter.arm(
            ArmRequest(
                playbook=name,
                place=the_place(request, body.account, body.region),
                service=body.service or ALL,
                mode=body.mode,
                canary_percent=body.canary_percent,
                by=caller(request),
                comment=body.comment,
                force=body.force,
            )
        )
    except NoSuchPlaybookError:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"no playbook named {name!r} is loaded") from None
    except NotJustifiedError as error:
        raise HTTPException(HTTPStatus.CONFLICT, str(error)) from None
    return arming_view(record, record.digest)


@router.post(
    "/{name}/disarm", openapi_extra=require_role(Role.ADMIN), responses=_DISARMED | _NOT_FOUND
)
def disarm(request: Request, name: PlaybookName, body: DisarmBody) -> dict[str, Any]:
    """Make a playbook only observe from now on. Steps that were not yet sent are not sent."""
    parts = parts_of(request)
    _require_on(request, name, body)
    try:
        for place in _places(request, body):
            scope = arming.Scope(playbook=name, place=place, service=body.service or ALL)
            record = parts.promoter.disarm(scope, by=caller(request), comment=body.comment)
    except NoSuchPlaybookError:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"no playbook named {name!r} is loaded") from None
    return arming_view(record, record.digest)


def _is_seen(
    scopes: Sequence[Scope] | None, *, playbook: str = "", record: Arming | None = None
) -> bool:
    """Whether a limited viewer sees a playbook, or one of its armings."""
    if scopes is None or (record is not None and not record.service and not record.account):
        return True
    if record is None:
        subject = Subject(playbook=playbook)
        return any(scope.only("playbooks").covers(subject) for scope in scopes)
    subject = Subject(service=record.service, account=record.account)
    return any(scope.only("services", "accounts").covers(subject) for scope in scopes)


def _require_on(request: Request, name: str, body: DisarmBody) -> None:
    subject = Subject(account=body.account, service=body.service, playbook=name)
    require_on(request, Role.ADMIN, subject)


def _places(request: Request, body: DisarmBody) -> Sequence[Place]:
    """The places of a disarming. The name of a service is unique in one place only."""
    if body.service is not None:
        return [the_place(request, body.account, body.region)]
    within = require_known(request, body.account, body.region)
    return [place for place in parts_of(request).places if place.is_within(within)]
