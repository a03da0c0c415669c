"""Login by the identity provider: to it, and back from it."""

import asyncio
import base64
import binascii
import re
import secrets
from http import HTTPStatus

import structlog
from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from receiver.console.login import local_path, login_page, open_session, too_many_failures
from receiver.console.session_route import cookie_name
from receiver.http.access.auth import JwtRefusedError, ProviderUnavailableError
from receiver.http.access.callers import Role
from receiver.http.access.sessions import Sessions
from receiver.sso.code_flow import Attempt
from receiver.sso.sign_on import CALLBACK, SignOn

_log = structlog.get_logger()
_ATTEMPT_S = 600
_PATH_MOST = 1000
# https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2.1
_ERROR = re.compile(r"[a-z_]{1,40}")
router = APIRouter(include_in_schema=False)


@router.get("/login/oidc", response_model=None)
async def begin(request: Request) -> Response:
    """Send the browser to the identity provider, with a cookie by which only it can return."""
    sso, path = _sso(request), local_path(request.query_params.get("next", "/"))[:_PATH_MOST]
    secret = secrets.token_urlsafe(32)
    try:
        address = await asyncio.to_thread(sso.flow.begin, Attempt(secret))
    except ProviderUnavailableError as error:
        return login_page(request, HTTPStatus.SERVICE_UNAVAILABLE, path, str(error))
    response = RedirectResponse(address, HTTPStatus.SEE_OTHER)
    kept = f"{secret}.{base64.urlsafe_b64encode(path.encode()).decode()}"
    _set_attempt(response, request, kept, _ATTEMPT_S)
    return response


@router.get(CALLBACK, response_model=None)
async def finish(request: Request) -> Response:
    """Log in who returns from the provider with a code. The attempt ends in any case."""
    sso = _sso(request)
    secret, path = _attempt(request)
    try:
        _check_error(request.query_params.get("error", ""))
        who = await asyncio.to_thread(sso.finish, Attempt(secret), dict(request.query_params))
    except ProviderUnavailableError as error:
        _log.warning("oidc_login_failed", reason=str(error))
        response = login_page(request, HTTPStatus.SERVICE_UNAVAILABLE, path, str(error))
    except JwtRefusedError as error:
        response = await _refuse(request, path, str(error))
    else:
        # Here only people log in; the roles file gives nobody the role webhook.
        response = (
            await asyncio.to_thread(open_session, request, who, path)
            if who.may(Role.VIEWER)
            else await _refuse(request, path, "none of its groups has a role")
        )
    _set_attempt(response, request, "", 0)
    return response


def _check_error(error: str) -> None:
    """Raises JwtRefusedError where the provider answers an error."""
    if error:
        known = error if _ERROR.fullmatch(error) else "an error"
        raise JwtRefusedError(f"the identity provider answered {known}")


async def _refuse(request: Request, path: str, reason: str) -> Response:
    """Refuse a login; beyond the rate it is not logged or audited."""
    if refused := too_many_failures(request, path):
        return refused
    address = request.client.host if request.client else ""
    sessions: Sessions = request.app.state.sessions
    await asyncio.to_thread(sessions.record_failure, address, request.state.request_id)
    _log.warning("oidc_login_failed", reason=reason, address=address)
    problem = f"The identity provider's answer is refused: {reason}."
    return login_page(request, HTTPStatus.UNAUTHORIZED, path, problem)


def _sso(request: Request) -> SignOn:
    sso: SignOn | None = request.app.state.sso
    if sso is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "no identity provider is configured")
    return sso


def _attempt(request: Request) -> tuple[str, str]:
    """The secret and the page of the attempt; without a cookie, a secret that fits nothing."""
    secret, _, encoded = request.cookies.get(_cookie(request), "").partition(".")
    try:
        path = base64.urlsafe_b64decode(encoded.encode()).decode()
    except (binascii.Error, ValueError):
        path = "/"
    return secret or secrets.token_urlsafe(32), local_path(path)


def _cookie(request: Request) -> str:
    return f"{cookie_name(request)}-oidc"


def _set_attempt(response: Response, request: Request, value: str, max_age_s: int) -> None:
    response.set_cookie(
        _cookie(request),
        value,
        max_age=max_age_s,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        # Not strict: the provider's redirect must bring it along.
        samesite="lax",
    )
