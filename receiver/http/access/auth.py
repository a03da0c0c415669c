"""Checks the role that a route requires, before the body is read."""

import base64
import binascii
import secrets
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute

from actions.audit.log import Origin, coming_from
from receiver.http import problems
from receiver.http.access.tokens import Role, Token, Tokens

_log = structlog.get_logger()
ROLE = "x-required-role"
# The role of a route whose callers sign their requests.
SIGNATURE = "signature"
_REALM = 'realm="smartcloudops"'
# The log has at most this many characters of a path.
_PATH_MAX = 256
_ALWAYS = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.REQUEST_URI_TOO_LONG,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_WITH_A_BODY = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


def require_role(role: Role) -> dict[str, Any]:
    """The `openapi_extra` of a route that requires this role; `GuardedRoute` enforces it."""
    schemes: list[dict[str, list[str]]] = (
        [{"bearer": []}, {"basic": []}] if role is Role.WEBHOOK else [{"bearer": []}]
    )
    return {ROLE: str(role), "security": schemes}


class GuardedRoute(APIRoute):
    """Calls the handler only if the role of the request's token suffices.

    The handler's answer is sent unchanged; the OpenAPI document shows the route's `responses`.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        writes = not {"GET", "HEAD"} & set(options.get("methods") or ())
        common = problems.documented(*_ALWAYS, *(_WITH_A_BODY if writes else ()))
        options["responses"] = {**common, **(options.get("responses") or {})}
        options["response_model"] = None
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        needed = Role((self.openapi_extra or {})[ROLE])

        async def guarded(request: Request) -> Response:
            token = authorise(request, needed)
            with coming_from(origin(request, token)):
                return await handler(request)

        return guarded


def caller(request: Request) -> str:
    """The caller's name in the audit."""
    token: Token = request.state.token
    return token.name


def origin(request: Request, token: Token) -> Origin:
    """The origin of a call, for the audit."""
    return Origin(
        name=token.name,
        role=str(token.role),
        address=request.client.host if request.client else "",
        request_id=request.state.request_id,
    )


def authorise(request: Request, needed: Role) -> Token:
    """Check the caller's role and store the token in the request's state. Raises HTTPException."""
    header = request.headers.get("Authorization", "")
    address = request.client.host if request.client else ""
    token = check_role(request.app.state.tokens, header, needed, address, request.url.path)
    request.state.token = token
    return token


def check_role(tokens: Tokens, authorization: str, needed: Role, address: str, path: str) -> Token:
    """The token in the header, if its role suffices. Raises HTTPException."""
    scheme, _, credentials = authorization.partition(" ")
    token, challenges = None, "Bearer " + _REALM
    match scheme.lower():
        case "bearer":
            token = tokens.find(credentials.strip(), deliveries=True)
        case "basic" if needed is Role.WEBHOOK:
            token = _by_password(tokens, credentials.strip())
    if needed is Role.WEBHOOK:
        challenges = f"{challenges}, Basic {_REALM}"
    if token is None:
        _refused("nobody", HTTPStatus.UNAUTHORIZED, address, path)
        raise HTTPException(
            HTTPStatus.UNAUTHORIZED,
            "a valid bearer token is required",
            {"WWW-Authenticate": challenges},
        )
    if not token.role.may(needed):
        _refused(token.name, HTTPStatus.FORBIDDEN, address, path)
        raise HTTPException(HTTPStatus.FORBIDDEN, f"the role {needed} is required")
    if needed is not Role.WEBHOOK and tokens.outdated:
        _refused(token.name, HTTPStatus.SERVICE_UNAVAILABLE, address, path)
        raise HTTPException(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "the tokens file is unreadable, so people are refused; the log has the cause",
        )
    return token


def _refused(name: str, status: HTTPStatus, address: str, path: str) -> None:
    path = path[:_PATH_MAX]
    _log.warning("caller_refused", status=int(status), name=name, address=address, path=path)


def _by_password(tokens: Tokens, credentials: str) -> Token | None:
    """Basic authentication: the token's name as user, the token itself as password."""
    try:
        name, _, secret = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    token = tokens.find(secret, deliveries=True)
    matches = token is not None and secrets.compare_digest(token.name.encode(), name.encode())
    return token if matches else None
