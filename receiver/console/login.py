"""Login with an API token, logout, and the static files of the pages."""

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
from receiver.api.parts import parts_of
from receiver.console.session_route import ConsoleRoute, cookie_name, read_form
from receiver.console.templating import ASSETS, render
from receiver.http.access.auth import caller_of, origin, require_role
from receiver.http.access.break_glass import BreakGlass
from receiver.http.access.callers import Caller, Door, Role
from receiver.http.access.rate_limit import RateLimiter, client_of
from receiver.http.access.sessions import LIFETIME_S, Sessions, csrf_token
from receiver.http.access.tokens import Token, Tokens

_log = structlog.get_logger()
_BURST, _PER_S = 10, 0.1
_LOGIN_COOKIE_S = 3600
_LOCAL_PATH = re.compile(r"/(?![/\\])[^\x00-\x20\\]*")
open_router = APIRouter(include_in_schema=False)
router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


def login_rate() -> RateLimiter:
    """The rate limit of failed logins from one address: a burst of ten, then six a minute."""
    return RateLimiter(per_s=_PER_S, burst=_BURST, clock=time.monotonic)


@open_router.get("/assets/{name}", response_model=None)
def serve_asset(request: Request, name: Annotated[str, Path(max_length=64)]) -> Response:
    asset = ASSETS.get(name)
    if asset is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "there is no such file")
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable",
        "Vary": "Accept-Encoding",
    }
    if "gzip" not in request.headers.get("Accept-Encoding", ""):
        return Response(asset.content, media_type=asset.media_type, headers=headers)
    headers["Content-Encoding"] = "gzip"
    return Response(asset.compressed, media_type=asset.media_type, headers=headers)


@open_router.get("/login", response_model=None)
def show_login(request: Request) -> Response:
    return login_page(request, HTTPStatus.OK, request.query_params.get("next", "/"))


@open_router.post("/login", response_model=None)
async def log_in(request: Request) -> Response:
    # A secret that no form matches, for a browser without the login page's cookie.
    secret = request.cookies.get(_login_cookie(request)) or secrets.token_urlsafe(32)
    try:
        fields = await read_form(request, csrf_token(secret))
    except HTTPException as error:
        return login_page(request, error.status_code, "/", error.detail)
    path = local_path(fields.get("next", "/"))
    tokens: Tokens = request.app.state.tokens
    presented = fields.get("token", "").strip()
    token = await asyncio.to_thread(lambda: tokens.refresh().find(presented))
    # Only failures count: a valid token logs in despite failures of others from its address.
    if token is not None and _may_log_in(request, token):
        return await asyncio.to_thread(open_session, request, token.caller, path)
    return await _refuse_login(request, token, path)


@router.post("/logout", openapi_extra=require_role(Role.VIEWER))
def log_out(request: Request) -> Response:
    sessions: Sessions = request.app.state.sessions
    sessions.close(request.cookies[cookie_name(request)], caller_of(request))
    response = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    _set_cookie(response, request, cookie_name(request), "", 0)
    return response


def _may_log_in(request: Request, token: Token) -> bool:
    """With an identity provider, tokens are for machines, but for those to break the glass."""
    allowed = request.app.state.sso is None or token.break_glass
    return allowed and token.role.may(Role.VIEWER)


def open_session(request: Request, who: Caller, path: str) -> Response:
    """Log a person in, and go on to the page."""
    sessions: Sessions = request.app.state.sessions
    address = request.client.host if request.client else ""
    with coming_from(origin(request, who)):
        if who.door is Door.BREAK_GLASS:
            break_glass: BreakGlass = request.app.state.break_glass
            break_glass.record(who)
        secret = sessions.open(who, address)
    response = RedirectResponse(path, HTTPStatus.SEE_OTHER)
    _set_cookie(response, request, cookie_name(request), secret, int(LIFETIME_S))
    return response


async def _refuse_login(request: Request, token: Token | None, path: str) -> Response:
    """Refuse a login. A failure beyond the rate is not logged or audited, to limit both in size."""
    address = request.client.host if request.client else ""
    if refused := too_many_failures(request, path):
        return refused
    sessions: Sessions = request.app.state.sessions
    await asyncio.to_thread(sessions.record_failure, address, request.state.request_id)
    name = token.name if token else "nobody"
    _log.warning("console_login_failed", name=name, address=address)
    tokens: Tokens = request.app.state.tokens
    if tokens.outdated:
        problem = "The service cannot read its tokens file, so nobody can log in."
        return login_page(request, HTTPStatus.SERVICE_UNAVAILABLE, path, problem)
    problem = "This token cannot log in: it is unknown, revoked, expired, or for webhooks only."
    if token is not None and request.app.state.sso is not None:
        problem = "With single sign-on, only a break-glass token logs in here."
    return login_page(request, HTTPStatus.UNAUTHORIZED, path, problem)


def too_many_failures(request: Request, path: str) -> Response | None:
    """Count a failed login; the answer to it where there were too many."""
    login_rate: RateLimiter = request.app.state.login_rate
    wait_s = login_rate.wait_s(client_of(request.client.host if request.client else ""))
    if not wait_s:
        return None
    problem = f"Too many failed logins from your address. Retry in {int(wait_s) + 1} s."
    response = login_page(request, HTTPStatus.TOO_MANY_REQUESTS, path, problem)
    response.headers["Retry-After"] = str(int(wait_s) + 1)
    return response


def login_page(request: Request, status: int, path: str, problem: str = "") -> Response:
    """The login form with its own cookie, so that another site cannot log a browser in."""
    secret = request.cookies.get(_login_cookie(request)) or secrets.token_urlsafe(32)
    context = {"csrf": csrf_token(secret), "next": local_path(path), "problem": problem}
    settings = parts_of(request).settings
    by_provider = request.app.state.sso is not None
    response = render(
        "login.html", status, root=settings.root_path, by_provider=by_provider, **context
    )
    _set_cookie(response, request, _login_cookie(request), secret, _LOGIN_COOKIE_S)
    return response


def _login_cookie(request: Request) -> str:
    return f"{cookie_name(request)}-login"


def _set_cookie(
    response: Response, request: Request, name: str, value: str, max_age_s: int
) -> None:
    secure = request.url.scheme == "https"
    response.set_cookie(
        name, value, max_age=max_age_s, path="/", secure=secure, httponly=True, samesite="strict"
    )


def local_path(path: str) -> str:
    """The path if it is a page of the console, otherwise the home page."""
    return path if _LOCAL_PATH.fullmatch(path) else "/"
