"""Into the console with a token of the API, and out of it; and the files that its pages need."""

import asyncio
import re
import secrets
import time
from http import HTTPStatus
from typing import Annotated

import structlog
from fastapi import APIRouter, HTTPException, Path, Request, Response
from fastapi.responses import RedirectResponse

from actions.audit.log import coming_from
from receiver.console.session_route import ConsoleRoute, cookie_name, form
from receiver.console.sessions import LASTS_S, Sessions, csrf
from receiver.console.templating import ASSETS, render
from receiver.http.auth import needs, origin
from receiver.http.rate_limit import Buckets, client_of
from receiver.http.tokens import Role, Token, Tokens

_log = structlog.get_logger()
_AT_ONCE, _PER_S = 10, 0.1
_LOCAL = re.compile(r"/(?![/\\])[^\x00-\x20\\]*")
open_router = APIRouter(include_in_schema=False)
router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


def attempts() -> Buckets:
    """How often one address may try to log in: ten times at once, six a minute from then on."""
    return Buckets(per_s=_PER_S, burst=_AT_ONCE, clock=time.monotonic)


@open_router.get("/assets/{name}", response_model=None)
def asset(name: Annotated[str, Path(max_length=64)]) -> Response:
    found = ASSETS.get(name)
    if found is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "there is no such file")
    kept = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(found.content, media_type=found.media_type, headers=kept)


@open_router.get("/login", response_model=None)
def ask(request: Request) -> Response:
    return _login_page(request, HTTPStatus.OK, request.query_params.get("next", "/"))


@open_router.post("/login", response_model=None)
async def log_in(request: Request) -> Response:
    address = request.client.host if request.client else ""
    logins: Buckets = request.app.state.logins
    if wait_s := logins.wait_s(client_of(address)):
        said = "Too many attempts from your address. Wait a little."
        answer = _login_page(request, HTTPStatus.TOO_MANY_REQUESTS, "/", said)
        answer.headers["Retry-After"] = str(int(wait_s) + 1)
        return answer
    # Without the cookie nothing fits.
    before = request.cookies.get(_before(request)) or secrets.token_urlsafe(32)
    try:
        fields = await form(request, csrf(before))
    except HTTPException as error:
        return _login_page(request, error.status_code, "/", error.detail)
    return await asyncio.to_thread(_logged_in, request, fields, address)


@router.post("/logout", openapi_extra=needs(Role.VIEWER))
def log_out(request: Request) -> Response:
    sessions: Sessions = request.app.state.sessions
    token: Token = request.state.token
    sessions.close(request.cookies[cookie_name(request)], token)
    answer = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    _set(answer, request, cookie_name(request), "", 0)
    return answer


def _logged_in(request: Request, fields: dict[str, str], address: str) -> Response:
    there = _local(fields.get("next", "/"))
    tokens: Tokens = request.app.state.tokens
    sessions: Sessions = request.app.state.sessions
    tokens.look()
    token = tokens.of(fields.get("token", "").strip())
    if token is None or not token.role.may(Role.VIEWER):
        sessions.failed(address, request.state.request_id)
        name = token.name if token else "nobody"
        _log.warning("console_login_failed", name=name, address=address)
        said = "This token cannot log in: it is unknown, revoked, over, or only for webhooks."
        return _login_page(request, HTTPStatus.UNAUTHORIZED, there, said)
    with coming_from(origin(request, token)):
        secret = sessions.open(token)
    answer = RedirectResponse(there, HTTPStatus.SEE_OTHER)
    _set(answer, request, cookie_name(request), secret, int(LASTS_S))
    return answer


def _login_page(request: Request, status: int, there: str, problem: str = "") -> Response:
    """With a cookie of its own, so that nobody can be logged in by another site."""
    secret = request.cookies.get(_before(request)) or secrets.token_urlsafe(32)
    answer = render("login.html", status, csrf=csrf(secret), next=_local(there), problem=problem)
    _set(answer, request, _before(request), secret, 3600)
    return answer


def _before(request: Request) -> str:
    return f"{cookie_name(request)}-login"


def _set(answer: Response, request: Request, name: str, value: str, lasts_s: int) -> None:
    secure = request.url.scheme == "https"
    answer.set_cookie(
        name, value, max_age=lasts_s, path="/", secure=secure, httponly=True, samesite="strict"
    )


def _local(there: str) -> str:
    """Only to a page of ours."""
    return there if _LOCAL.fullmatch(there) else "/"
