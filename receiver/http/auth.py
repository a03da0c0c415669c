"""Who may call what: the role a route names is checked before its body is read."""

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
from receiver.http.tokens import Role, Token, Tokens

_log = structlog.get_logger()
ROLE = "x-required-role"
_REALM = 'realm="smartcloudops"'
_ALWAYS = (
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.REQUEST_URI_TOO_LONG,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_WITH_A_BODY = (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


def needs(role: Role) -> dict[str, Any]:
    """`openapi_extra` of a route: the role it needs, enforced by `GuardedRoute` and documented."""
    schemes: list[dict[str, list[str]]] = (
        [{"bearer": []}, {"basic": []}] if role is Role.WEBHOOK else [{"bearer": []}]
    )
    return {ROLE: str(role), "security": schemes}


class GuardedRoute(APIRoute):
    """Lets a request through to its handler once its token's role is enough.

    What it answers is in the document by its `responses`, and is sent as the handler gives it.
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
    """Who calls, as the audit names them."""
    token: Token = request.state.token
    return token.name


def origin(request: Request, token: Token) -> Origin:
    """From where somebody calls, for the audit."""
    return Origin(
        name=token.name,
        role=str(token.role),
        address=request.client.host if request.client else "",
        request_id=request.state.request_id,
    )


def authorise(request: Request, needed: Role) -> Token:
    """The caller's token, which the request's state then has. Raises HTTPException."""
    given = request.headers.get("Authorization", "")
    address = request.client.host if request.client else ""
    token = permitted(request.app.state.tokens, given, needed, address, request.url.path)
    request.state.token = token
    return token


def permitted(tokens: Tokens, authorization: str, needed: Role, address: str, path: str) -> Token:
    """Whose token the header holds, if its role is enough. Raises HTTPException."""
    scheme, _, given = authorization.partition(" ")
    token, ways = None, "Bearer " + _REALM
    match scheme.lower():
        case "bearer":
            token = tokens.of(given.strip())
        case "basic" if needed is Role.WEBHOOK:
            token = _by_password(tokens, given.strip())
    if needed is Role.WEBHOOK:
        ways = f"{ways}, Basic {_REALM}"
    if token is None:
        _refused("nobody", HTTPStatus.UNAUTHORIZED, address, path)
        raise HTTPException(
            HTTPStatus.UNAUTHORIZED, "a valid bearer token is needed", {"WWW-Authenticate": ways}
        )
    if not token.role.may(needed):
        _refused(token.name, HTTPStatus.FORBIDDEN, address, path)
        raise HTTPException(HTTPStatus.FORBIDDEN, f"the role {needed} is needed")
    return token


def _refused(name: str, status: HTTPStatus, address: str, path: str) -> None:
    _log.warning("caller_refused", status=int(status), name=name, address=address, path=path)


def _by_password(tokens: Tokens, given: str) -> Token | None:
    """Basic authentication: the token's name as user, the token itself as password."""
    try:
        name, _, secret = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    token = tokens.of(secret)
    same = token is not None and secrets.compare_digest(token.name.encode(), name.encode())
    return token if same else None
