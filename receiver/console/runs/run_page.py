"""The page of a run, with plots of its target's metrics."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from actions.execution import ledger
from models.features.signals import ROLES
from receiver.api import runs
from receiver.api.params import CaptureName, RunId
from receiver.api.parts import Parts, parts_of
from receiver.console.runs import run_actions
from receiver.console.runs.condition_plots import condition_plots
from receiver.console.runs.links import links_of
from receiver.console.runs.metrics_after import metrics_after, plot_end
from receiver.console.runs.story import tell
from receiver.console.session_route import ConsoleRoute
from receiver.console.templating import content_version, render_page
from receiver.html.metric_plot import Plot, Points, metric_plot, run_events
from receiver.http.access.auth import require_role
from receiver.http.access.callers import Role
from receiver.track_record import comparisons

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
_UNCHANGED = 204
_ON_LOAD, _AGAIN = "load", "every 10s"
# Room for the name of the last event.
_AFTER_EVENT_S = 30.0


@router.get("/runs/{run_id}", openapi_extra=require_role(Role.VIEWER))
def show_run(request: Request, run_id: RunId) -> Response:
    parts, run = parts_of(request), runs.show_run(request, run_id)
    reversible = _is_reversible(parts, run_id)
    actions = run_actions.possible_actions(run, reversible=reversible)
    versions = {
        "run": content_version(run),
        "actions": content_version([actions, (run["plan"] or {}).get("digest")]),
    }
    query = request.query_params
    if query.get("run") == versions["run"]:
        return Response(status_code=_UNCHANGED)
    with parts.database.read() as connection:
        story = tell(connection, run)
        people = comparisons.get(connection, run_id)
    context: dict[str, Any] = {
        "run": run,
        "actions": actions,
        "versions": versions,
        "story": story,
        "people": people,
        "links": links_of(run, parts.settings, parts.prometheus.of(run["alert"]["labels"]).url),
    }
    if "hx-request" in request.headers:
        # A new form would delete a comment that is being typed, so the form is only replaced if the
        # possible actions changed.
        replace_form = query.get("actions") != versions["actions"]
        return render_page(request, "run_live.html", live=True, oob=replace_form, **context)
    plots = _plots(run, {}, 0.0)
    return render_page(
        request, "run.html", live=False, oob=False, plots=plots, polled=_ON_LOAD, **context
    )


@router.get("/runs/{run_id}/plots", openapi_extra=require_role(Role.VIEWER))
def show_plots(request: Request, run_id: RunId) -> Response:
    """The plots with the metrics after the decision, polled until they are complete."""
    parts = parts_of(request)
    run, now = runs.show_run(request, run_id), parts.clock()
    plot_data = _plot_data(run)
    if not plot_data:
        end = plot_end(run, now) if run["evidence"] else now
        plots = list(condition_plots(parts.prometheus, run, end))
        polled = _AGAIN if not run["decided_at"] or (plots and end >= now) else None
        return render_page(request, "plots.html", run=run, plots=plots, polled=polled)
    decided_at, end = float(run["evidence"]["at"]), plot_end(run, now)
    after = metrics_after(parts.prometheus, run, end) or {}
    plots = _plots(run, after, end - decided_at)
    polled = _AGAIN if end >= now else None
    return render_page(request, "plots.html", run=run, plots=plots, polled=polled)


@router.get("/runs/{run_id}/captures/{name}", openapi_extra=require_role(Role.OPERATOR))
def show_capture(request: Request, run_id: RunId, name: CaptureName) -> Response:
    return runs.show_capture(request, run_id, name)


def _plots(run: dict[str, Any], after: Mapping[str, Points], end_s: float) -> list[Plot]:
    """The plots of a run; `after` has the later metrics by role.

    Plots end `end_s` seconds after the decision, or after the last event.
    """
    plot_data = _plot_data(run)
    if not plot_data:
        return []
    decided_at, events = float(run["evidence"]["at"]), run_events(run)
    end_s = max([end_s, *(event.at + _AFTER_EVENT_S for event in events)])
    return [
        metric_plot(metric, decided_at, events, after.get(metric["role"], ()), end_s)
        for metric in plot_data
    ]


def _is_reversible(parts: Parts, run_id: str) -> bool:
    with parts.database.read() as connection:
        steps = ledger.intents_by_run(connection, [run_id]).get(run_id, ())
    return bool(parts.lifecycle.ending.rollback.reversible_steps(steps, everything=True))


def _plot_data(run: dict[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The run's plot data, without roles that an update has removed."""
    evidence = run["evidence"]
    return (
        [metric for metric in evidence["sketches"] if metric["role"] in ROLES] if evidence else []
    )
