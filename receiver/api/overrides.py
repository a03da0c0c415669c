"""Overrides, in the form of Alertmanager's silences: hold alerts, or only observe them."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any, Self

from fastapi import APIRouter, HTTPException, Request
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict
from ulid import ULID

from actions.reasons import Reason
from receiver.api.params import Cursor, Id, Limit, Page, RunId, Text, Time, Why
from receiver.api.parts import parts_of
from receiver.controls import overrides
from receiver.controls.records import Effect, Override
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
from receiver.playbooks.matchers import Matcher
from receiver.playbooks.time_intervals import TimeInterval, dump
from receiver.runtime.rfc3339 import DAY_S, rfc3339

router = APIRouter(prefix="/api/v1/overrides", route_class=GuardedRoute, tags=["overrides"])


class MatcherView(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    name: str = Field(examples=["asg"])
    value: str = Field(examples=["web-asg"])
    is_regex: bool
    is_equal: bool


class OverrideView(BaseModel):
    id: Id
    matchers: list[MatcherView]
    effect: Effect
    starts_at: Time
    ends_at: Time
    created_by: str = Field(examples=["alice"])
    comment: str = Field(examples=["migration"])
    time_intervals: list[dict[str, Any]] = Field(description="when it recurs; empty: always")


class OverridePage(Page):
    items: list[OverrideView]


class OverrideEnded(BaseModel):
    id: Id


_EXAMPLE: JsonDict = {
    "matchers": [{"name": "asg", "value": "web-asg", "isRegex": False, "isEqual": True}],
    "effect": "hold",
    "ends_at": "2026-11-23T08:00:00Z",
    "comment": "migration",
}
_DURATION_MAX_S = 366 * DAY_S
_CURRENT_MOST = 100_000


class MatcherBody(BaseModel):
    """A matcher, as in Alertmanager's API."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_:][A-Za-z0-9_:]*$", max_length=200)]
    value: Annotated[str, StringConstraints(max_length=1000)]
    is_regex: bool = False
    is_equal: bool = True

    def matcher(self) -> Matcher:
        """Raises MatcherError."""
        return Matcher(
            name=self.name, value=self.value, is_regex=self.is_regex, is_equal=self.is_equal
        )


class OverrideBody(BaseModel):
    """A new override; `created_by` is ignored, because the token's name is recorded.

    With `time_intervals`, as in Alertmanager, it recurs: it applies only while one of them is open.
    """

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})

    matchers: Annotated[list[MatcherBody], Field(min_length=1, max_length=20)]
    effect: Effect
    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime
    created_by: Annotated[str, StringConstraints(max_length=200)] | None = None
    comment: Text
    time_intervals: Annotated[list[TimeInterval], Field(max_length=20)] = Field(
        default_factory=list
    )

    @model_validator(mode="after")
    def _validate(self) -> Self:
        if all(matcher.matcher().matches({}) for matcher in self.matchers):
            raise ValueError("at least one matcher must require a label")
        if self.starts_at is not None and self.starts_at >= self.ends_at:
            raise ValueError("ends_at must come after starts_at")
        return self


_PAGE = answers(OverridePage, "A page of overrides, newest first.")
_CREATED = answers(OverrideView, "The override.", 201)
_ENDED = answers(OverrideEnded, "The override has ended.") | documented(HTTPStatus.NOT_FOUND)


@router.get("", openapi_extra=require_role(Role.VIEWER), responses=_PAGE)
def list_overrides(
    request: Request, *, limit: Limit = 1000, cursor: Cursor | None = None
) -> dict[str, Any]:
    """Current and future overrides, newest first."""
    parts = parts_of(request)
    with parts.database.read() as connection:
        current = overrides.list_current(connection, parts.clock(), before=cursor, limit=limit + 1)
    page = current[:limit]
    items = [_view(override) for override in page if _may_see(request, override)]
    return {"items": items, "next_cursor": page[-1].id if len(current) > limit else None}


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    openapi_extra=require_role(Role.OPERATOR),
    responses=_CREATED,
)
def create_override(request: Request, body: OverrideBody) -> dict[str, Any]:
    """Hold alerts, only observe them, or ask first, for a period."""
    parts = parts_of(request)
    require_on(
        request,
        Role.OPERATOR,
        _subject_of([matcher.matcher() for matcher in body.matchers]),
    )
    now = parts.clock()
    ends_at = body.ends_at.timestamp()
    if not now < ends_at <= now + _DURATION_MAX_S:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "ends_at must be within the next year")
    override = Override(
        id=str(ULID()),
        matchers=[matcher.matcher() for matcher in body.matchers],
        effect=body.effect,
        # An earlier start would have no effect, and a time before year 1 cannot be stored.
        starts_at=max(now, body.starts_at.timestamp()) if body.starts_at else now,
        ends_at=ends_at,
        created_by=caller(request),
        comment=body.comment,
        time_intervals=body.time_intervals,
    )
    with parts.database.write() as connection:
        overrides.add(connection, override, now)
    return _view(override)


@router.delete("/{override_id}", openapi_extra=require_role(Role.OPERATOR), responses=_ENDED)
def end_override(
    request: Request, override_id: RunId, comment: Why | None = None
) -> dict[str, Any]:
    """End an override now: what it held is decided again."""
    parts = parts_of(request)
    if not caller_of(request).may_everywhere(Role.OPERATOR):
        _require_on(request, override_id)
    with parts.database.write() as connection:
        ended = overrides.end(
            connection, override_id, caller(request), parts.clock(), comment=comment
        )
    if not ended:
        raise HTTPException(HTTPStatus.NOT_FOUND, "there is no such current or future override")
    parts.commands.lifted(Reason.OVERRIDE_HOLD)
    return {"id": override_id}


def _subject_of(matchers: Sequence[Matcher]) -> Subject:
    """The account and the group to which all alerts of an override belong."""
    named = {
        matcher.name: matcher.value
        for matcher in matchers
        if matcher.is_equal and not matcher.is_regex
    }
    return Subject(account=named.get("account"), service=named.get("asg"))


def _may_see(request: Request, override: Override) -> bool:
    """Whether it is of the caller's services, or of nobody's in particular."""
    subject = _subject_of(override.matchers)
    return subject == Subject() or caller_of(request).may_on(Role.VIEWER, subject)


def _require_on(request: Request, override_id: str) -> None:
    parts = parts_of(request)
    with parts.database.read() as connection:
        current = overrides.list_current(connection, parts.clock(), limit=_CURRENT_MOST)
    found = [override for override in current if override.id == override_id]
    for override in found:
        require_on(request, Role.OPERATOR, _subject_of(override.matchers))


def _view(override: Override) -> dict[str, Any]:
    return {
        "id": override.id,
        "matchers": [matcher.as_json() for matcher in override.matchers],
        "effect": override.effect,
        "starts_at": rfc3339(override.starts_at),
        "ends_at": rfc3339(override.ends_at),
        "created_by": override.created_by,
        "comment": override.comment,
        "time_intervals": [dump(interval) for interval in override.time_intervals],
    }
