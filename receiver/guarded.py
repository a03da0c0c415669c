"""Who may call what: the role a route names is checked before its body is read."""

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from receiver.tokens import Role, Token, Tokens

ROLE = "x-required-role"
WEBHOOK_BODY_MAX = 16 * 1024 * 1024
_BODY_MAX = 64 * 1024
_UNAUTHENTICATED = {"WWW-Authenticate": 'Bearer realm="smartcloudops"'}


def needs(role: Role) -> dict[str, Any]:
    """`openapi_extra` of a route: the role it needs, enforced by `GuardedRoute` and documented."""
    return {ROLE: str(role), "security": [{"bearer": []}]}


class GuardedRoute(APIRoute):
    """Lets a request through to its handler once its token's role is enough."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        needed = Role((self.openapi_extra or {})[ROLE])

        async def guarded(request: Request) -> Response:
            request.state.token = _authorised(request, needed)
            return await handler(request)

        return guarded


def caller(request: Request) -> str:
    """Who calls, as the audit names them."""
    token: Token = request.state.token
    return token.name


def _authorised(request: Request, needed: Role) -> Token:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    tokens: Tokens = request.app.state.tokens
    token = tokens.of(secret.strip()) if scheme.lower() == "bearer" else None
    if token is None:
        raise HTTPException(
            HTTPStatus.UNAUTHORIZED, "a valid bearer token is needed", _UNAUTHENTICATED
        )
    if not token.role.may(needed):
        raise HTTPException(HTTPStatus.FORBIDDEN, f"the role {needed} is needed")
    return token


class BodyTooLargeError(HTTPException):
    def __init__(self, limit: int) -> None:
        super().__init__(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body exceeds {limit} bytes")


class BodyLimit:
    """Stops reading a body at its limit, whatever length it claims to have."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = WEBHOOK_BODY_MAX if scope.get("path", "").startswith("/webhook/") else _BODY_MAX
        seen = 0

        async def limited() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise BodyTooLargeError(limit)
            return message

        await self._app(scope, limited, send)
