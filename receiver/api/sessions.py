"""Who is logged in to the console, and the end of sessions."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Request
from pydantic import BaseModel, Field

from receiver.api.params import Page, Time, Why
from receiver.api.parts import parts_of
from receiver.http.access.auth import GuardedRoute, caller, caller_of, require_role
from receiver.http.access.callers import Door, Role
from receiver.http.access.sessions import Session, Sessions
from receiver.http.openapi import answers
from receiver.http.problems import documented
from receiver.runtime.rfc3339 import rfc3339
from receiver.sso.people import People

router = APIRouter(prefix="/api/v1", route_class=GuardedRoute, tags=["sessions"])
SessionId = Annotated[str, Path(pattern=r"^[0-9a-f]{24}$", examples=["0" * 24])]
_Person = Annotated[str, Path(pattern=r"^[A-Za-z0-9._@+-]{1,64}$", examples=["alice@example.com"])]


class SessionView(BaseModel):
    id: str = Field(examples=["0" * 24])
    name: str = Field(examples=["alice@example.com"])
    door: Door = Field(description="how the person logged in")
    address: str = Field(examples=["10.0.0.7"])
    opened_at: Time
    expires_at: Time


class SessionPage(Page):
    items: list[SessionView]


class SessionEnded(BaseModel):
    id: str = Field(examples=["0" * 24])


class SessionsEnded(BaseModel):
    person: str = Field(examples=["alice@example.com"])


_PAGE = answers(SessionPage, "The open sessions, newest first.")
_NOT_FOUND = documented(HTTPStatus.NOT_FOUND)


@router.get("/sessions", openapi_extra=require_role(Role.VIEWER), responses=_PAGE)
def list_sessions(request: Request) -> dict[str, Any]:
    """The caller's open sessions; for an admin, all."""
    listed = _sessions(request).list_open(name=_own_name(request))
    return {"items": [_view(session) for session in listed], "next_cursor": None}


@router.delete(
    "/sessions/{session_id}",
    openapi_extra=require_role(Role.VIEWER),
    responses=answers(SessionEnded, "The session has ended.") | _NOT_FOUND,
)
def end_session(
    request: Request, session_id: SessionId, comment: Why | None = None
) -> dict[str, Any]:
    """End a session of the caller; for an admin, any."""
    name = _own_name(request)
    if not _sessions(request).end(session_id, caller(request), comment, name=name):
        raise HTTPException(HTTPStatus.NOT_FOUND, "there is no such open session")
    return {"id": session_id}


@router.delete(
    "/people/{person}/sessions",
    openapi_extra=require_role(Role.ADMIN, everything=True),
    responses=answers(SessionsEnded, "The person must log in again.") | _NOT_FOUND,
)
def end_sessions(request: Request, person: _Person, comment: Why | None = None) -> dict[str, Any]:
    """End all sessions of a person of the identity provider, and refuse JWTs issued until now."""
    parts = parts_of(request)
    people = People(database=parts.database, clock=parts.clock)
    if not people.end_sessions(person, caller(request), comment):
        raise HTTPException(HTTPStatus.NOT_FOUND, "there is no such person")
    return {"person": person}


def _sessions(request: Request) -> Sessions:
    sessions: Sessions = request.app.state.sessions
    return sessions


def _own_name(request: Request) -> str | None:
    """The name whose sessions the caller may see; None is all."""
    who = caller_of(request)
    return None if who.may_everywhere(Role.ADMIN) else who.name


def _view(session: Session) -> dict[str, Any]:
    return {
        "id": session.id,
        "name": session.name,
        "door": str(session.door),
        "address": session.address,
        "opened_at": rfc3339(session.opened_at),
        "expires_at": rfc3339(session.expires_at),
    }
