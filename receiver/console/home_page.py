"""What is happening now, what waits for a person, and the list of all runs."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response

from receiver.api import runs
from receiver.console.session_route import ConsoleRoute
from receiver.console.templating import page, seen, switch_story
from receiver.http.auth import needs
from receiver.http.tokens import Role
from receiver.runs import stats
from receiver.runs.model import IN_FLIGHT, State
from receiver.runtime.rfc3339 import DAY_S
from receiver.system import System

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
_WAITING_MOST, _FLYING_MOST, _RECENT_MOST, _PAGE = 50, 50, 12, 50
_UNCHANGED = 204
SPANS_H = {"1h": 1, "24h": 24, "7d": 168, "30d": 720}


@router.get("/", openapi_extra=needs(Role.VIEWER))
def home(request: Request) -> Response:
    found = _now(request)
    mark = seen(found)
    if request.query_params.get("seen") == mark:
        return Response(status_code=_UNCHANGED)
    live = "hx-request" in request.headers
    return page(request, "now_live.html" if live else "now.html", mark=mark, **found)


@router.get("/banner", openapi_extra=needs(Role.VIEWER))
def banner(request: Request) -> Response:
    """The kill switch as it stands, on every page."""
    mark = seen(switch_story(request.app.state.system))
    if request.query_params.get("seen") == mark:
        return Response(status_code=_UNCHANGED)
    return page(request, "banner.html")


@router.get("/runs", openapi_extra=needs(Role.VIEWER))
def listed(request: Request) -> Response:
    asked = {key: request.query_params.get(key, "")[:255] for key in _FILTERS}
    found = runs.page(request, limit=_PAGE, **_filters(asked))
    names = sorted(one.name for one in request.app.state.system.playbooks.items)
    return page(
        request,
        "runs.html",
        runs=found["items"],
        cursor=found["next_cursor"],
        asked=asked,
        states=list(State),
        spans=list(SPANS_H),
        playbooks=names,
    )


_FILTERS = ("state", "playbook", "target", "since", "cursor")


def _filters(asked: Mapping[str, str]) -> dict[str, Any]:
    given = {key: value for key, value in asked.items() if value and value.isprintable()}
    if "state" in given and given["state"] not in set(State):
        raise HTTPException(422, "There is no such state.")
    if "since" in given and given["since"] not in SPANS_H:
        raise HTTPException(422, "There is no such span of time.")
    found: dict[str, Any] = dict(given)
    if "state" in found:
        found["state"] = State(found["state"])
    if "since" in found:
        found["since"] = datetime.now(UTC) - timedelta(hours=SPANS_H[found["since"]])
    return found


def _now(request: Request) -> dict[str, Any]:
    system: System = request.app.state.system
    flying = [
        run
        for state in State
        if state in IN_FLIGHT and state is not State.AWAITING_APPROVAL
        for run in runs.page(request, state=state, limit=_FLYING_MOST)["items"]
    ]
    waiting = runs.page(request, state=State.AWAITING_APPROVAL, limit=_WAITING_MOST)["items"]
    latest = runs.page(request, limit=4 * _RECENT_MOST)["items"]
    ended = [run for run in latest if run["ended_at"]]
    with system.database.read() as connection:
        counts = stats.by_state(connection, system.clock() - DAY_S)
    return {
        "waiting": waiting,
        "flying": sorted(flying, key=lambda run: str(run["id"]), reverse=True),
        "recent": ended[:_RECENT_MOST],
        "counts": dict(counts),
    }
