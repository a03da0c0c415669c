"""The kill switch, overrides, cooldowns, debts, and subscriptions that wait."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import re2
from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from receiver.api import control, cooldowns, debts, overrides, sns
from receiver.api.params import Comment, RunId
from receiver.api.parts import parts_of, require_known
from receiver.console.session_route import ConsoleRoute
from receiver.console.templating import render_page
from receiver.controls.records import Effect
from receiver.http.access.auth import caller_of, require_role
from receiver.http.access.callers import Role
from receiver.playbooks.matchers import MatcherError, parse

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
_DURATIONS_H = {"1 hour": 1, "4 hours": 4, "1 day": 24, "1 week": 168, "30 days": 720}
_TARGET_MOST = 255
# Matches each text between commas and line breaks that are outside of quotes.
_MATCHER = re2.compile(r'(?:[^",\n]|"(?:[^"\\]|\\.)*"?)+')


@router.get("/controls", openapi_extra=require_role(Role.VIEWER))
def show_controls(request: Request) -> Response:
    is_admin = caller_of(request).may_everywhere(Role.ADMIN)
    return render_page(
        request,
        "controls.html",
        overrides=overrides.list_overrides(request)["items"],
        cooldowns=cooldowns.list_cooldowns(request)["items"],
        debts=debts.list_debts(request)["items"],
        subscriptions=sns.list_subscriptions(request)["items"] if is_admin else [],
        effects=list(Effect),
        durations=list(_DURATIONS_H),
        prefilled=request.query_params.get("matchers", "")[:1000],
    )


@router.post("/pause", openapi_extra=require_role(Role.OPERATOR))
def pause(request: Request) -> Response:
    control.pause(request, control.Pause(comment=_comment(request).comment, **_place(request)))
    return _redirect("/")


@router.post("/resume", openapi_extra=require_role(Role.OPERATOR))
def resume(request: Request) -> Response:
    control.resume(request, control.Resume(comment=_comment(request).comment, **_place(request)))
    return _redirect("/")


@router.post("/controls/overrides", openapi_extra=require_role(Role.OPERATOR))
def create_override(request: Request) -> Response:
    parts = parts_of(request)
    fields: Mapping[str, str] = request.state.form
    duration_h = _DURATIONS_H.get(fields.get("duration", ""))
    if duration_h is None:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "Unknown duration.")
    body = overrides.OverrideBody.model_validate(
        {
            "matchers": [*_matchers(fields.get("matchers", "")), *_place_matchers(request)],
            "effect": fields.get("effect", ""),
            "ends_at": datetime.fromtimestamp(parts.clock(), UTC) + timedelta(hours=duration_h),
            "comment": fields.get("comment", ""),
            "time_intervals": _time_intervals(fields),
        }
    )
    overrides.create_override(request, body)
    return _redirect("/controls")


@router.post("/controls/overrides/{override_id}/end", openapi_extra=require_role(Role.OPERATOR))
def end_override(request: Request, override_id: RunId) -> Response:
    overrides.end_override(request, override_id, _comment(request).comment)
    return _redirect("/controls")


@router.post("/controls/cooldowns/end", openapi_extra=require_role(Role.OPERATOR))
def end_cooldown(request: Request) -> Response:
    """End a cooldown. The target is a form field, because a group's name may contain a slash."""
    target = request.state.form.get("target", "")
    if not target.isprintable():
        raise HTTPException(HTTPStatus.NOT_FOUND, "Unknown target.")
    comment = _comment(request).comment
    cooldowns.clear_cooldown(request, target[:_TARGET_MOST], comment, **_place(request))
    return _redirect("/controls")


@router.post(
    "/controls/subscriptions/{subscription_id}/confirm",
    openapi_extra=require_role(Role.ADMIN, everything=True),
)
def confirm_subscription(request: Request, subscription_id: sns.SubscriptionId) -> Response:
    sns.confirm_subscription(request, subscription_id, _comment(request))
    return _redirect("/controls")


def _time_intervals(fields: Mapping[str, str]) -> list[dict[str, Any]]:
    """The times at which an override recurs; none where the form has no times and no weekdays."""
    start, end, days = (fields.get(name, "") for name in ("start_time", "end_time", "weekdays"))
    if not (start or end or days):
        return []
    times = [{"start_time": start or "00:00", "end_time": end or "24:00"}]
    weekdays = [day.strip() for day in days.split(",") if day.strip()]
    return [{"times": times, "weekdays": weekdays, "location": fields.get("location") or "UTC"}]


def _matchers(text: str) -> list[dict[str, Any]]:
    try:
        return [parse(part).as_json() for part in _MATCHER.findall(text) if part.strip()]
    except MatcherError as error:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None


def _place(request: Request) -> dict[str, Any]:
    """The account and region of a form; None is any."""
    return {name: request.state.form.get(name) or None for name in ("account", "region")}


def _place_matchers(request: Request) -> list[dict[str, Any]]:
    place = require_known(request, **_place(request))
    equal = {"isRegex": False, "isEqual": True}
    return [{"name": name, "value": value, **equal} for name, value in vars(place).items() if value]


def _comment(request: Request) -> Comment:
    return Comment(comment=request.state.form.get("comment", ""))


def _redirect(path: str) -> Response:
    return RedirectResponse(path, HTTPStatus.SEE_OTHER)
