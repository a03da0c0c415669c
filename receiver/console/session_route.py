"""Routes of the console, which check session cookie, role and the form's CSRF token."""

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, quote

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from pydantic import ValidationError

from actions.audit.log import coming_from
from receiver.api.parts import parts_of
from receiver.console.templating import render, render_error, render_page
from receiver.http.access.auth import (
    EVERYTHING,
    ROLE,
    ProviderUnavailableError,
    origin,
    require_everywhere,
)
from receiver.http.access.callers import Caller, Role
from receiver.http.access.sessions import Sessions, csrf_token

_FIELDS_MOST = 64
# A browser that follows a link from another site omits the cookie, which is SameSite=Strict. A
# reload by this page sends it.
_RELOAD = HTMLResponse(
    '<!doctype html><html lang="en"><title>SmartCloudOps</title>'
    '<meta http-equiv="refresh" content="0"><p>One moment.</p>'
)


class ConsoleRoute(APIRoute):
    """Calls the handler if the session's role suffices.

    The handler gets the caller's token and origin as in an API call, and a form's fields in
    `request.state.form`. Errors become pages.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        options["response_model"] = None
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        needed = Role((self.openapi_extra or {})[ROLE])
        everything = EVERYTHING in (self.openapi_extra or {})

        async def guarded(request: Request) -> Response:
            secret = request.cookies.get(cookie_name(request), "")
            sessions: Sessions = request.app.state.sessions
            try:
                who = await asyncio.to_thread(sessions.find_caller, secret) if secret else None
            except ProviderUnavailableError as error:
                root = parts_of(request).settings.root_path
                return render(
                    "refused.html", HTTPStatus.SERVICE_UNAVAILABLE, root=root, problem=str(error)
                )
            if who is None:
                return await _without_session(request, had_cookie=bool(secret))
            request.state.caller, request.state.csrf = who, csrf_token(secret)
            try:
                _require_role(who, needed)
                if everything:
                    require_everywhere(request, needed)
                if request.method == "POST":
                    request.state.form = await read_form(request, request.state.csrf)
                with coming_from(origin(request, who)):
                    return await handler(request)
            except (HTTPException, RequestValidationError, ValidationError) as error:
                return await _error_page(request, error)

        return guarded


async def _error_page(request: Request, error: Exception) -> Response:
    """The page of an error; of a form of an earlier session, with what was typed."""
    typed = await _typed(request) if isinstance(error, StaleFormError) else {}
    if typed:
        context: dict[str, Any] = {"fields": typed, "again": True}
        return await asyncio.to_thread(
            render_page, request, "typed.html", HTTPStatus.FORBIDDEN, **context
        )
    match error:
        case HTTPException():
            status, problem = error.status_code, error.detail
        case ValidationError():
            status, problem = HTTPStatus.UNPROCESSABLE_ENTITY, _invalid_fields(error)
        case _:
            status, problem = HTTPStatus.NOT_FOUND, "There is no such page."
    return await asyncio.to_thread(render_error, request, status, problem)


def cookie_name(request: Request) -> str:
    """The cookie's name; with TLS one that browsers accept only over TLS and from this host."""
    return "__Host-smartcloudops" if request.url.scheme == "https" else "smartcloudops"


class StaleFormError(HTTPException):
    """The form is of another session, or of another site."""

    def __init__(self) -> None:
        problem = "The form has expired or is from another site. Go back, reload and try again."
        super().__init__(HTTPStatus.FORBIDDEN, problem)


async def _typed(request: Request) -> dict[str, str]:
    """What was typed into a form of this site, which a browser alone can say; else nothing."""
    if request.method != "POST" or request.headers.get("sec-fetch-site") != "same-origin":
        return {}
    fields = await _read_fields(request)
    fields.pop("csrf", "")
    return fields


def _keep(request: Request, fields: dict[str, str]) -> Response:
    """A page that keeps what was typed, to be sent after a login in another tab."""
    return render(
        "kept.html",
        HTTPStatus.UNAUTHORIZED,
        root=parts_of(request).settings.root_path,
        path=request.url.path,
        fields=fields,
        again=False,
    )


async def read_form(request: Request, csrf: str) -> dict[str, str]:
    """The fields of a form. Raises HTTPException if its CSRF token is not `csrf`."""
    fields = await _read_fields(request)
    if not secrets.compare_digest(fields.pop("csrf", "").encode(), csrf.encode()):
        raise StaleFormError
    return fields


async def _read_fields(request: Request) -> dict[str, str]:
    body = (await request.body()).decode("utf-8", "replace")
    try:
        return dict(parse_qsl(body, keep_blank_values=True, max_num_fields=_FIELDS_MOST))
    except ValueError:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "The form has too many fields.") from None


def _require_role(who: Caller, needed: Role) -> None:
    if not who.may(needed):
        raise HTTPException(
            HTTPStatus.FORBIDDEN, f"This requires the role {needed}; yours is {who.role}."
        )


async def _without_session(request: Request, *, had_cookie: bool) -> Response:
    fields = await _typed(request)
    if fields:
        return _keep(request, fields)
    return _redirect_to_login(request, had_cookie=had_cookie)


def _redirect_to_login(request: Request, *, had_cookie: bool) -> Response:
    if "hx-request" in request.headers:
        # htmx would insert the login page into the polled part; this header makes it load the page.
        login = f"/login?next={quote(request.url.path)}"
        return Response(status_code=HTTPStatus.UNAUTHORIZED, headers={"HX-Redirect": login})
    if request.method != "GET":
        return RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    if not had_cookie and request.headers.get("sec-fetch-site") == "cross-site":
        return _RELOAD
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/login?next={quote(path)}", HTTPStatus.SEE_OTHER)


def _invalid_fields(error: ValidationError) -> str:
    details = error.errors(include_url=False, include_input=False, include_context=False)
    return "; ".join(
        f"{'.'.join(str(part) for part in detail['loc']) or 'form'}: "
        + detail["msg"].removeprefix("Value error, ")
        for detail in details[:5]
    )
