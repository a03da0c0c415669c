"""The home page with the runs in flight, and the list of all runs."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response

from receiver.api import runs
from receiver.api.parts import parts_of, require_known
from receiver.console.session_route import ConsoleRoute
from receiver.console.templating import content_version, render_page, switch_view
from receiver.http.access.auth import require_role
from receiver.http.access.tokens import Role
from receiver.runs import stats
from receiver.runs.model import IN_FLIGHT, State
from receiver.runtime.rfc3339 import DAY_S

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
_WAITING_MOST, _IN_FLIGHT_MOST, _RECENT_MOST, _PAGE = 50, 50, 12, 50
_UNCHANGED = 204
SPANS_H = {"1h": 1, "24h": 24, "7d": 168, "30d": 720}


@router.get("/", openapi_extra=require_role(Role.VIEWER))
def show_home(request: Request) -> Response:
    content = _home_content(request)
    version = content_version(content)
    if request.query_params.get("version") == version:
        return Response(status_code=_UNCHANGED)
    template = "home_live.html" if "hx-request" in request.headers else "home.html"
    return render_page(request, template, version=version, **content)


@router.get("/banner", openapi_extra=require_role(Role.VIEWER))
def show_banner(request: Request) -> Response:
    """The state of the kill switch, on every page."""
    version = content_version(switch_view(parts_of(request)))
    if request.query_params.get("version") == version:
        return Response(status_code=_UNCHANGED)
    return render_page(request, "banner.html")


@router.get("/runs", openapi_extra=require_role(Role.VIEWER))
def show_runs(request: Request) -> Response:
    filters = {key: request.query_params.get(key, "")[:255] for key in _FILTERS}
    require_known(request, filters["account"], filters["region"])
    page = runs.list_runs(request, runs.RunQuery(limit=_PAGE, **_parse_filters(filters)))
    playbooks = sorted(playbook.name for playbook in parts_of(request).playbooks.items)
    return render_page(
        request,
        "runs.html",
        runs=page["items"],
        cursor=page["next_cursor"],
        filters=filters,
        states=list(State),
        spans=list(SPANS_H),
        playbooks=playbooks,
    )


_FILTERS = ("state", "playbook", "target", "account", "region", "since", "cursor")


def _parse_filters(filters: Mapping[str, str]) -> dict[str, Any]:
    parsed: dict[str, Any] = {
        key: value for key, value in filters.items() if value and value.isprintable()
    }
    if state := parsed.get("state"):
        if state not in set(State):
            raise HTTPException(422, "Unknown state.")
        parsed["state"] = State(state)
    if span := parsed.get("since"):
        parsed["since"] = start_of(span)
    return parsed


def start_of(span: str) -> datetime:
    """The start of a span that ends now. Raises HTTPException."""
    if span not in SPANS_H:
        raise HTTPException(422, "Unknown time span.")
    return datetime.now(UTC) - timedelta(hours=SPANS_H[span])


def _home_content(request: Request) -> dict[str, Any]:
    parts = parts_of(request)
    in_flight = [
        run
        for state in State
        if state in IN_FLIGHT and state is not State.AWAITING_APPROVAL
        for run in _list(request, state=state, limit=_IN_FLIGHT_MOST)
    ]
    waiting = _list(request, state=State.AWAITING_APPROVAL, limit=_WAITING_MOST)
    latest = _list(request, limit=4 * _RECENT_MOST)
    ended = [run for run in latest if run["ended_at"]]
    with parts.database.read() as connection:
        counts = stats.count_by_state(connection, parts.clock() - DAY_S)
    return {
        "waiting": waiting,
        "in_flight": sorted(in_flight, key=lambda run: str(run["id"]), reverse=True),
        "recent": ended[:_RECENT_MOST],
        "counts": dict(counts),
    }


def _list(request: Request, *, state: State | None = None, limit: int) -> list[dict[str, Any]]:
    page = runs.list_runs(request, runs.RunQuery(state=state, limit=limit))
    return list(page["items"])
