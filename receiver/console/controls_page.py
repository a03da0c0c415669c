"""The kill switch from any page; what is held, what is cooling down."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from receiver.api import control, overrides
from receiver.api.comment import Comment
from receiver.api.params import RunId
from receiver.console.session_route import ConsoleRoute
from receiver.console.templating import page
from receiver.controls.overrides import Effect
from receiver.http.auth import needs
from receiver.http.tokens import Role
from receiver.playbooks.matchers import MatcherError, parse
from receiver.system import System

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
_LASTS = {"1 hour": 1, "4 hours": 4, "1 day": 24, "1 week": 168, "30 days": 720}
_TARGET_MOST = 255
# Commas between matchers, but not those inside quotes.
_BETWEEN = re.compile(r'[,\n](?=(?:[^"]*"[^"]*")*[^"]*$)')


@router.get("/controls", openapi_extra=needs(Role.VIEWER))
def shown(request: Request) -> Response:
    return page(
        request,
        "controls.html",
        overrides=overrides.page(request)["items"],
        cooldowns=control.cooldowns(request)["items"],
        effects=list(Effect),
        lasts=list(_LASTS),
        prefilled=request.query_params.get("matchers", "")[:1000],
    )


@router.post("/pause", openapi_extra=needs(Role.OPERATOR))
def pause(request: Request) -> Response:
    control.pause(request, _comment(request))
    return _to("/")


@router.post("/resume", openapi_extra=needs(Role.OPERATOR))
def resume(request: Request) -> Response:
    control.resume(request, _comment(request))
    return _to("/")


@router.post("/controls/overrides", openapi_extra=needs(Role.OPERATOR))
def add(request: Request) -> Response:
    system: System = request.app.state.system
    fields: Mapping[str, str] = request.state.form
    lasts = _LASTS.get(fields.get("lasts", ""))
    if lasts is None:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "There is no such span of time.")
    body = overrides.OverrideBody.model_validate(
        {
            "matchers": _matchers(fields.get("matchers", "")),
            "effect": fields.get("effect", ""),
            "ends_at": datetime.fromtimestamp(system.clock(), UTC) + timedelta(hours=lasts),
            "comment": fields.get("comment", ""),
        }
    )
    overrides.add(request, body)
    return _to("/controls")


@router.post("/controls/overrides/{override_id}/end", openapi_extra=needs(Role.OPERATOR))
def end(request: Request, override_id: RunId) -> Response:
    overrides.end(request, override_id, _comment(request).comment)
    return _to("/controls")


@router.post("/controls/cooldowns/end", openapi_extra=needs(Role.OPERATOR))
def cool(request: Request) -> Response:
    """The target is a field: a group's name may have what a path may not."""
    target = request.state.form.get("target", "")
    if not target.isprintable():
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such target.")
    control.cool(request, target[:_TARGET_MOST], _comment(request).comment)
    return _to("/controls")


def _matchers(text: str) -> list[dict[str, Any]]:
    try:
        found = [parse(one) for one in _BETWEEN.split(text) if one.strip()]
    except MatcherError as error:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
    return [
        {"name": one.name, "value": one.value, "isRegex": one.is_regex, "isEqual": one.is_equal}
        for one in found
    ]


def _comment(request: Request) -> Comment:
    return Comment(comment=request.state.form.get("comment", ""))


def _to(there: str) -> Response:
    return RedirectResponse(there, HTTPStatus.SEE_OTHER)
