"""Who is logged in, with a button to end each session."""

from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from receiver.api import sessions
from receiver.api.params import Comment
from receiver.console.session_route import ConsoleRoute, cookie_name
from receiver.console.templating import render_page
from receiver.http.access.auth import require_role
from receiver.http.access.callers import Role
from receiver.http.access.sessions import session_id

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


@router.get("/sessions", openapi_extra=require_role(Role.VIEWER))
def show_sessions(request: Request) -> Response:
    return render_page(
        request,
        "sessions.html",
        sessions=sessions.list_sessions(request)["items"],
        own=session_id(request.cookies[cookie_name(request)]),
    )


@router.post("/sessions/{session_id}/end", openapi_extra=require_role(Role.VIEWER))
def end_session(request: Request, session_id: sessions.SessionId) -> Response:
    comment = Comment(comment=request.state.form.get("comment", "")).comment
    sessions.end_session(request, session_id, comment)
    return RedirectResponse("/sessions", HTTPStatus.SEE_OTHER)
