"""Checks the role that a route requires, before the body is read."""

import asyncio
import base64
import binascii
import secrets
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, Protocol

import structlog
from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute

from actions.audit.log import Origin, coming_from
from receiver.http import problems
from receiver.http.access.break_glass import BreakGlass
from receiver.http.access.callers import Caller, Door, Role, Subject
from receiver.http.access.tokens import Token, Tokens

_log = structlog.get_logger()
ROLE = "x-required-role"
# A route of which no part can be shown or done for a caller whose role is limited.
EVERYTHING = "x-requires-everything"
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


def require_role(role: Role, *, everything: bool = False) -> dict[str, Any]:
    """The `openapi_extra` of a route that requires this role; `GuardedRoute` enforces it.

    With `everything` it must be for all services, playbooks and accounts; other routes check
    what they are about.
    """
    schemes: list[dict[str, list[str]]] = (
        [{"bearer": []}, {"basic": []}] if role is Role.WEBHOOK else [{"bearer": []}]
    )
    return {ROLE: str(role), "security": schemes} | ({EVERYTHING: True} if everything else {})


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
        everything = EVERYTHING in (self.openapi_extra or {})

        async def guarded(request: Request) -> Response:
            caller = await authorise(request, needed)
            if everything:
                require_everywhere(request, needed)
            with coming_from(origin(request, caller)):
                return await handler(request)

        return guarded


class JwtCallers(Protocol):
    """Knows the callers by the JWTs of an identity provider."""

    def caller_of(self, jwt: str) -> Caller:
        """Who presents the JWT. Raises JwtRefusedError and ProviderUnavailableError."""


class JwtRefusedError(Exception):
    """The JWT lets nobody in; the text has the reason, and no part of the JWT."""


class ProviderUnavailableError(Exception):
    """The identity provider cannot be asked, so nobody can be known by it."""


def caller_of(request: Request) -> Caller:
    found: Caller = request.state.caller
    return found


def caller(request: Request) -> str:
    """The caller's name in the audit."""
    return caller_of(request).name


def origin(request: Request, who: Caller) -> Origin:
    """The origin of a call, for the audit."""
    return Origin(
        name=who.name,
        role=str(who.role),
        address=request.client.host if request.client else "",
        request_id=request.state.request_id,
    )


def require_on(request: Request, needed: Role, *subjects: Subject) -> None:
    """Raise HTTPException unless the caller's role extends to all of these."""
    who = caller_of(request)
    if not all(who.may_on(needed, subject) for subject in subjects):
        _refused(who.name, HTTPStatus.FORBIDDEN, *_where(request))
        detail = f"your role {needed} does not extend to this service, playbook or account"
        raise HTTPException(HTTPStatus.FORBIDDEN, detail)


def require_everywhere(request: Request, needed: Role) -> None:
    """Raise HTTPException unless the caller has the role for everything."""
    who = caller_of(request)
    if not who.may_everywhere(needed):
        _refused(who.name, HTTPStatus.FORBIDDEN, *_where(request))
        detail = f"this requires the role {needed} for all services, playbooks and accounts"
        raise HTTPException(HTTPStatus.FORBIDDEN, detail)


async def authorise(request: Request, needed: Role) -> Caller:
    """Check the caller's role and store the caller in the request's state.

    Raises HTTPException.
    """
    header, (address, path) = request.headers.get("Authorization", ""), _where(request)
    scheme, _, credentials = header.partition(" ")
    sso: JwtCallers | None = request.app.state.sso
    if sso is not None and scheme.lower() == "bearer" and is_jwt(credentials.strip()):
        who = await asyncio.to_thread(_caller_by_jwt, sso, credentials.strip(), address, path)
        if not who.may(needed):
            _refused(who.name, HTTPStatus.FORBIDDEN, address, path)
            raise HTTPException(HTTPStatus.FORBIDDEN, f"the role {needed} is required")
    else:
        who = check_role(request.app.state.tokens, header, needed, address, path).caller
    if who.door is Door.BREAK_GLASS:
        break_glass: BreakGlass = request.app.state.break_glass
        with coming_from(origin(request, who)):
            await asyncio.to_thread(break_glass.record, who)
    request.state.caller = who
    return who


def is_jwt(credentials: str) -> bool:
    """Whether it has the three parts of a signed JWT; a token of this service has no dot."""
    return credentials.count(".") == 2  # noqa: PLR2004 header, claims and signature


def _caller_by_jwt(sso: JwtCallers, jwt: str, address: str, path: str) -> Caller:
    try:
        return sso.caller_of(jwt)
    except JwtRefusedError as error:
        _refused("nobody", HTTPStatus.UNAUTHORIZED, address, path, reason=str(error))
        challenge = f'Bearer {_REALM}, error="invalid_token"'
        detail = f"the bearer token is refused: {error}"
        raise HTTPException(
            HTTPStatus.UNAUTHORIZED, detail, {"WWW-Authenticate": challenge}
        ) from None
    except ProviderUnavailableError as error:
        _refused("nobody", HTTPStatus.SERVICE_UNAVAILABLE, address, path, reason=str(error))
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, str(error)) from None


def _where(request: Request) -> tuple[str, str]:
    return request.client.host if request.client else "", request.url.path


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
    # A limited admin could deliver alerts about everything.
    limited = needed is Role.WEBHOOK and not token.scope.unlimited
    if limited or not token.role.may(needed):
        _refused(token.name, HTTPStatus.FORBIDDEN, address, path)
        raise HTTPException(HTTPStatus.FORBIDDEN, f"the role {needed} is required")
    if needed is not Role.WEBHOOK and tokens.outdated:
        _refused(token.name, HTTPStatus.SERVICE_UNAVAILABLE, address, path)
        raise HTTPException(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "the tokens file is unreadable, so people are refused; the log has the cause",
        )
    return token


def _refused(name: str, status: HTTPStatus, address: str, path: str, **why: str) -> None:
    path = path[:_PATH_MAX]
    _log.warning("caller_refused", status=int(status), name=name, address=address, path=path, **why)


def _by_password(tokens: Tokens, credentials: str) -> Token | None:
    """Basic authentication: the token's name as user, the token itself as password."""
    try:
        name, _, secret = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    token = tokens.find(secret, deliveries=True)
    matches = token is not None and secrets.compare_digest(token.name.encode(), name.encode())
    return token if matches else None
