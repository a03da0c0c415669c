"""The page Now, and the state of the kill switch on every page."""

from dataclasses import asdict
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from receiver.api import debts, run_schema, runs
from receiver.api.params import Comment
from receiver.api.parts import parts_of
from receiver.console.home import week
from receiver.console.home.overview import overview_of
from receiver.console.matchers import equal_matchers
from receiver.console.runs.grouping import group_runs
from receiver.console.session_route import ConsoleRoute
from receiver.console.templating import content_version, render_page, switch_view
from receiver.http.access.auth import caller, caller_of, require_role
from receiver.http.access.callers import Role
from receiver.runs.model import IN_FLIGHT, State
from receiver.runs.queries import stats
from receiver.runs.queries.groups import RunGroup
from receiver.runs.queries.unremedied import Subject, Unremedied
from receiver.runtime.rfc3339 import DAY_S, rfc3339
from receiver.workflow.approvals import NoSuchRunError, NotNowError

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
_WAITING_MOST, _IN_FLIGHT_MOST = 50, 50
# So many of one subject are acknowledged at once.
_ACKNOWLEDGED_MOST = 1000
_UNCHANGED = 204


@router.get("/", openapi_extra=require_role(Role.VIEWER))
def show_home(request: Request) -> Response:
    if not caller_of(request).may_everywhere(Role.VIEWER):
        # Now tells of everything; the list has what this person may see.
        return RedirectResponse("/runs", HTTPStatus.SEE_OTHER)
    content = _home_content(request)
    version = content_version(content)
    if request.query_params.get("version") == version:
        return Response(status_code=_UNCHANGED)
    template = "home_live.html" if "hx-request" in request.headers else "home.html"
    days = overview_of(request).days()
    plots, helped = week.multiples(days), week.help_rate(days)
    return render_page(request, template, version=version, week=plots, helped=helped, **content)


@router.get("/banner", openapi_extra=require_role(Role.VIEWER))
def show_banner(request: Request) -> Response:
    """The state of the kill switch, on every page."""
    version = content_version(switch_view(parts_of(request)))
    if request.query_params.get("version") == version:
        return Response(status_code=_UNCHANGED)
    return render_page(request, "banner.html")


@router.get("/service", openapi_extra=require_role(Role.VIEWER, everything=True))
def show_service(request: Request) -> Response:
    """The health of the service: a part of Now, and a page of its own without JavaScript."""
    lines = overview_of(request).health()
    template = "service_health.html" if "hx-request" in request.headers else "service.html"
    return render_page(request, template, lines=lines)


@router.post("/unhandled/acknowledge", openapi_extra=require_role(Role.OPERATOR, everything=True))
def acknowledge(request: Request) -> Response:
    """Say that a person is on all alerts of one subject."""
    parts, fields = parts_of(request), request.state.form
    comment = Comment(comment=fields.get("comment", "")).comment
    names = ("alertname", "where", "account", "region")
    subject = Subject(**{name: fields.get(name, "") for name in names})
    run_ids = overview_of(request).alerts.run_ids(parts.clock(), subject)[-_ACKNOWLEDGED_MOST:]
    if not run_ids:
        raise HTTPException(HTTPStatus.CONFLICT, "No such alert fires unhandled any more.")
    for run_id in run_ids:
        try:
            parts.commands.acknowledge(run_id, caller(request), comment)
        except (NoSuchRunError, NotNowError):
            # It has changed since it was listed; the page shows how it stands.
            continue
    overview_of(request).forget()
    return RedirectResponse("/", HTTPStatus.SEE_OTHER)


def _home_content(request: Request) -> dict[str, Any]:
    parts, overview = parts_of(request), overview_of(request)
    in_flight = [
        run
        for state in State
        if state in IN_FLIGHT and state is not State.AWAITING_APPROVAL
        for run in _list(request, state=state, limit=_IN_FLIGHT_MOST)
    ]
    waiting = _list(request, state=State.AWAITING_APPROVAL, limit=_WAITING_MOST)
    unhandled = overview.unremedied()
    owed = [debt for debt in debts.list_debts(request)["items"] if debt["state"] != "lent"]

    with parts.database.read() as connection:
        counts = stats.count_by_state(connection, parts.clock() - DAY_S)
    in_flight.sort(key=lambda run: str(run["id"]), reverse=True)
    return {
        "unhandled": [_unhandled_view(alerts) for alerts in unhandled],
        "waiting": group_runs(waiting),
        "in_flight": group_runs(in_flight),
        "owed": owed,
        "recent": [_ended_view(group) for group in overview.ended()],
        "counts": dict(counts),
        "totals": {
            "unhandled": sum(alerts.count for alerts in unhandled),
            "waiting": counts.get(State.AWAITING_APPROVAL, len(waiting)),
            "in_flight": len(in_flight),
        },
    }


def _unhandled_view(alerts: Unremedied) -> dict[str, Any]:
    subject = alerts.subject
    labels = {"alertname": subject.alertname}
    if alerts.group:
        labels["asg"] = alerts.group
    elif alerts.target:
        labels["instance_id"] = alerts.target
    return {
        **asdict(subject),
        "count": alerts.count,
        "ends": alerts.ends.most_common(3),
        "newest": alerts.newest,
        "target": alerts.target,
        "playbook": alerts.playbook,
        "since": rfc3339(alerts.since),
        "query": urlencode(
            {
                "alertname": subject.alertname,
                "group" if alerts.group else "target": subject.where,
                "unhandled": "1",
            }
        ),
        "matchers": equal_matchers(labels),
    }


def _ended_view(group: RunGroup) -> dict[str, Any]:
    filters = {
        "alertname": group.alertname,
        "group": group.group,
        "target": None if group.group else group.target,
        "state": group.state,
        "refusal": group.refusal,
        "since": "24h",
    }
    listed = urlencode({name: value for name, value in filters.items() if value})
    at = {"first_at": rfc3339(group.first_at), "last_at": rfc3339(group.last_at)}
    return {**asdict(group), **at, "query": listed}


def _list(request: Request, *, state: State, limit: int) -> list[dict[str, Any]]:
    page = runs.list_runs(request, run_schema.RunQuery(state=state, limit=limit))
    return list(page["items"])
