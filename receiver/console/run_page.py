"""One run's whole story, with what was seen of its target drawn."""

from typing import Any

from fastapi import APIRouter, Request, Response

from actions.execution import ledger
from models.features.signals import ROLES
from receiver.api import runs
from receiver.api.params import RunId
from receiver.console import run_actions
from receiver.console.metrics_after import aftermath, until
from receiver.console.session_route import ConsoleRoute
from receiver.console.templating import page, seen
from receiver.html.metric_plot import Plot, metric_plot, run_events
from receiver.http.auth import needs
from receiver.http.tokens import Role
from receiver.system import System

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
_UNCHANGED = 204
_OPEN, _AGAIN = "load", "every 10s"


@router.get("/runs/{run_id}", openapi_extra=needs(Role.VIEWER))
def shown(request: Request, run_id: RunId) -> Response:
    run = runs.one(request, run_id)
    possible = run_actions.possible(run, undoable=_undoable(request.app.state.system, run_id))
    known = {"story": seen(run), "deeds": seen([possible, (run["plan"] or {}).get("digest")])}
    asked = request.query_params
    if asked.get("story") == known["story"]:
        return Response(status_code=_UNCHANGED)
    context: dict[str, Any] = {"run": run, "possible": possible, "marks": known}
    if "hx-request" in request.headers:
        # A form that somebody fills in stays as it is, unless what it offers has changed.
        return page(
            request, "run_part.html", live=True, oob=asked.get("deeds") != known["deeds"], **context
        )
    plots = _plots(run, {}, 0.0)
    return page(request, "run.html", live=False, oob=False, plots=plots, polled=_OPEN, **context)


@router.get("/runs/{run_id}/plots", openapi_extra=needs(Role.VIEWER))
def drawn(request: Request, run_id: RunId) -> Response:
    """The same plots with how it went on, for as long as it does."""
    system: System = request.app.state.system
    run, now = runs.one(request, run_id), system.clock()
    if not _sketches(run):
        polled = None if run["decided_at"] else _AGAIN
        return page(request, "plots.html", run=run, plots=[], polled=polled)
    at, end = float(run["evidence"]["at"]), until(run, now)
    roles = [one["role"] for one in _sketches(run)]
    after = aftermath(system.prometheus, run["target"] or "", roles, at, end) or {}
    polled = _AGAIN if end >= now else None
    return page(request, "plots.html", run=run, plots=_plots(run, after, end - at), polled=polled)


def _plots(run: dict[str, Any], after: Any, end_s: float) -> list[Plot]:
    happened = run_events(run) if _sketches(run) else []
    last = max([end_s, *(one.at + 30.0 for one in happened)])
    return [
        metric_plot(one, float(run["evidence"]["at"]), happened, after.get(one["role"], ()), last)
        for one in _sketches(run)
    ]


def _undoable(system: System, run_id: str) -> bool:
    with system.database.read() as connection:
        steps = ledger.intents_by_run(connection, [run_id]).get(run_id, ())
    return bool(system.finish.undoable(steps, everything=True))


def _sketches(run: dict[str, Any]) -> list[dict[str, Any]]:
    """None where a run was decided before sketches were kept."""
    found = (run["evidence"] or {}).get("sketches", [])
    return [one for one in found if one["role"] in ROLES]
