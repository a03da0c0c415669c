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
from receiver.console.templating import render, render_error
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
                return _redirect_to_login(request, had_cookie=bool(secret))
            request.state.caller, request.state.csrf = who, csrf_token(secret)
            try:
                _require_role(who, needed)
                if everything:
                    require_everywhere(request, needed)
                if request.method == "POST":
                    request.state.form = await read_form(request, request.state.csrf)
                with coming_from(origin(request, who)):
                    return await handler(request)
            except HTTPException as error:
                status, problem = error.status_code, error.detail
            except RequestValidationError:
                status, problem = HTTPStatus.NOT_FOUND, "There is no such page."
            except ValidationError as error:
                status, problem = HTTPStatus.UNPROCESSABLE_ENTITY, _invalid_fields(error)
            return await asyncio.to_thread(render_error, request, status, problem)

        return guarded


def cookie_name(request: Request) -> str:
    """The cookie's name; with TLS one that browsers accept only over TLS and from this host."""
    return "__Host-smartcloudops" if request.url.scheme == "https" else "smartcloudops"


async def read_form(request: Request, csrf: str) -> dict[str, str]:
    """The fields of a form. Raises HTTPException if its CSRF token is not `csrf`."""
    body = (await request.body()).decode("utf-8", "replace")
    try:
        fields = dict(parse_qsl(body, keep_blank_values=True, max_num_fields=_FIELDS_MOST))
    except ValueError:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "The form has too many fields.") from None
    if not secrets.compare_digest(fields.pop("csrf", "").encode(), csrf.encode()):
        problem = "The form has expired or is from another site. Go back, reload and try again."
        raise HTTPException(HTTPStatus.FORBIDDEN, problem)
    return fields


def _require_role(who: Caller, needed: Role) -> None:
    if not who.may(needed):
        raise HTTPException(
            HTTPStatus.FORBIDDEN, f"This requires the role {needed}; yours is {who.role}."
        )


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
