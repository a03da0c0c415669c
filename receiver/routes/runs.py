"""The runs, newest first, the whole story of one, and what people do to it."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from pydantic import AwareDatetime

from actions import ledger
from receiver import runs
from receiver.guarded import GuardedRoute, caller, needs
from receiver.interventions import Interventions, NoSuchRunError, NotNowError
from receiver.routes.comments import Comment
from receiver.run import State
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
        caused = runs.caused_by(connection, run_id)
    if run is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "there is no such run")
    return story(run, steps.get(run_id, ())) | {"evidence": run.evidence, "caused": caused}


@router.post("/{run_id}/approve", openapi_extra=needs(Role.OPERATOR))
def approve(request: Request, run_id: str, body: Comment) -> dict[str, Any]:
    """Say yes to the plan that waits; it is decided once more, and must come out the same."""
    return _intervened(request, run_id, body, _interventions(request).approve)


@router.post("/{run_id}/deny", openapi_extra=needs(Role.OPERATOR))
def deny(request: Request, run_id: str, body: Comment) -> dict[str, Any]:
    """Say no to the plan that waits: the run ends."""
    return _intervened(request, run_id, body, _interventions(request).deny)


@router.post("/{run_id}/cancel", openapi_extra=needs(Role.OPERATOR))
def cancel(request: Request, run_id: str, body: Comment) -> dict[str, Any]:
    """End the run before its next step; what was done stays done."""
    return _intervened(request, run_id, body, _interventions(request).cancel)


@router.post("/{run_id}/rollback", openapi_extra=needs(Role.OPERATOR))
def roll_back(request: Request, run_id: str, body: Comment) -> dict[str, Any]:
    """Undo all that the run did and that can be undone, the last step first."""
    return _intervened(request, run_id, body, _interventions(request).roll_back)


def _interventions(request: Request) -> Interventions:
    system: System = request.app.state.system
    return system.interventions


def _intervened(
    request: Request, run_id: str, body: Comment, how: Callable[[str, str, str], None]
) -> dict[str, Any]:
    try:
        how(run_id, caller(request), body.comment)
    except NoSuchRunError:
        raise HTTPException(HTTPStatus.NOT_FOUND, "there is no such run") from None
    except NotNowError as error:
        raise HTTPException(HTTPStatus.CONFLICT, str(error)) from None
    return one(request, run_id)
