"""The runs, newest first, and the whole story of one."""

from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from pydantic import AwareDatetime

from actions import ledger
from receiver import runs
from receiver.guarded import GuardedRoute, needs
from receiver.runs import State
from receiver.stories import story
from receiver.system import System
from receiver.tokens import Role

router = APIRouter(prefix="/api/v1/runs", route_class=GuardedRoute, tags=["runs"])


@router.get("", openapi_extra=needs(Role.VIEWER))
def page(  # noqa: PLR0913 one argument a filter
    request: Request,
    *,
    state: State | None = None,
    playbook: str | None = None,
    target: str | None = None,
    since: AwareDatetime | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: str | None = None,
) -> dict[str, Any]:
    """Runs without their evidence, newest first."""
    system: System = request.app.state.system
    system.assessor.take_in()
    with system.database.read() as connection:
        found = runs.page(
            connection,
            state=state,
            playbook=playbook,
            target=target,
            since=since.timestamp() if since else None,
            before=cursor,
            limit=limit + 1,
        )
        steps = ledger.of_runs(connection, [run.id for run in found])
    shown = found[:limit]
    return {
        "items": [story(run, steps.get(run.id, ())) for run in shown],
        "next_cursor": shown[-1].id if len(found) > limit else None,
    }


@router.get("/{run_id}", openapi_extra=needs(Role.VIEWER))
def one(request: Request, run_id: str) -> dict[str, Any]:
    """All that is known of one run."""
    system: System = request.app.state.system
    system.assessor.take_in()
    with system.database.read() as connection:
        run = runs.get(connection, run_id)
        steps = ledger.of_runs(connection, [run_id])
    if run is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "there is no such run")
    return story(run, steps.get(run_id, ())) | {"evidence": run.evidence}
