"""Who gets to a page, by their session's cookie; forms must be the page's own."""

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
from receiver.console.sessions import Sessions, csrf
from receiver.console.templating import error_page
from receiver.http.auth import ROLE, origin
from receiver.http.tokens import Role

_FIELDS_MOST = 64
# A link in a chat comes without the cookie, which is SameSite=Strict; asked for again by a page of
# ours, it comes with it.
_AGAIN = HTMLResponse(
    '<!doctype html><html lang="en"><title>SmartCloudOps</title>'
    '<meta http-equiv="refresh" content="0"><p>One moment.</p>'
)


class ConsoleRoute(APIRoute):
    """Lets a request through to its handler once the session's role is enough.

    From there on it is the same as a call of the API: who, from where, and what they may. A form's
    fields are in `request.state.form`.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        options["response_model"] = None
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        needed = Role((self.openapi_extra or {})[ROLE])

        async def guarded(request: Request) -> Response:
            secret = request.cookies.get(cookie_name(request), "")
            sessions: Sessions = request.app.state.sessions
            token = await asyncio.to_thread(sessions.of, secret) if secret else None
            if token is None:
                return _to_login(request, had_cookie=bool(secret))
            request.state.token, request.state.csrf = token, csrf(secret)
            try:
                _refuse_too_small(token.role, needed)
                if request.method == "POST":
                    request.state.form = await form(request, request.state.csrf)
                with coming_from(origin(request, token)):
                    return await handler(request)
            except HTTPException as error:
                return await asyncio.to_thread(error_page, request, error.status_code, error.detail)
            except RequestValidationError:
                missing = HTTPStatus.NOT_FOUND
                return await asyncio.to_thread(
                    error_page, request, missing, "There is no such page."
                )
            except ValidationError as error:
                said = _faults(error)
                unusable = HTTPStatus.UNPROCESSABLE_ENTITY
                return await asyncio.to_thread(error_page, request, unusable, said)

        return guarded


def cookie_name(request: Request) -> str:
    """Over TLS a name that no other site, and no plain HTTP, can set."""
    return "__Host-smartcloudops" if request.url.scheme == "https" else "smartcloudops"


async def form(request: Request, expected: str) -> dict[str, str]:
    """The fields of a form. Raises HTTPException where it is not a form of the page's own."""
    body = (await request.body()).decode("utf-8", "replace")
    try:
        fields = dict(parse_qsl(body, keep_blank_values=True, max_num_fields=_FIELDS_MOST))
    except ValueError:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "The form has too many fields.") from None
    if not secrets.compare_digest(fields.pop("csrf", "").encode(), expected.encode()):
        said = "The form is too old, or came from somewhere else. Go back, reload, and try again."
        raise HTTPException(HTTPStatus.FORBIDDEN, said)
    return fields


def _refuse_too_small(role: Role, needed: Role) -> None:
    if not role.may(needed):
        raise HTTPException(HTTPStatus.FORBIDDEN, f"This needs the role {needed}.")


def _to_login(request: Request, *, had_cookie: bool) -> Response:
    if "hx-request" in request.headers:
        # The whole page goes, not the part that was asked for.
        where = f"/login?next={quote(request.url.path)}"
        return Response(status_code=HTTPStatus.UNAUTHORIZED, headers={"HX-Redirect": where})
    if request.method != "GET":
        return RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    if not had_cookie and request.headers.get("sec-fetch-site") == "cross-site":
        return _AGAIN
    there = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/login?next={quote(there)}", HTTPStatus.SEE_OTHER)


def _faults(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False, include_context=False)
    said = (
        f"{'.'.join(str(part) for part in one['loc']) or 'form'}: "
        + one["msg"].removeprefix("Value error, ")
        for one in found[:5]
    )
    return "; ".join(said)
