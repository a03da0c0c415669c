"""One run's whole story."""

from typing import Any

from fastapi import APIRouter, Request, Response

from receiver.console import deeds
from receiver.console.doorway import ConsoleRoute
from receiver.console.pages import page, seen
from receiver.guarded import needs
from receiver.routes import runs
from receiver.routes.asking import RunId
from receiver.tokens import Role

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
_UNCHANGED = 204


@router.get("/runs/{run_id}", openapi_extra=needs(Role.VIEWER))
def shown(request: Request, run_id: RunId) -> Response:
    run = runs.one(request, run_id)
    possible = deeds.possible(run)
    marks = {"story": seen(run), "deeds": seen([possible, (run["plan"] or {}).get("digest")])}
    asked = request.query_params
    if asked.get("story") == marks["story"]:
        return Response(status_code=_UNCHANGED)
    context: dict[str, Any] = {"run": run, "possible": possible, "marks": marks}
    if "hx-request" not in request.headers:
        return page(request, "run.html", oob=False, **context)
    # A form that somebody fills in stays as it is, unless what it offers has changed.
    return page(request, "run_part.html", oob=asked.get("deeds") != marks["deeds"], **context)
