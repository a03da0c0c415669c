"""The runs, newest first, the whole story of one, and what people do to it."""

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from actions.execution import ledger
from receiver.api.comment import Comment, Text
from receiver.api.params import Cursor, Limit, Name, RunId
from receiver.api.parts import parts_of
from receiver.api.run_schema import RunPage, WholeRun
from receiver.http.auth import GuardedRoute, caller, needs
from receiver.http.openapi import answers
from receiver.http.problems import documented
from receiver.http.tokens import Role, Token
from receiver.runs import store
from receiver.runs.intake import RunRequest
from receiver.runs.model import State
from receiver.runs.store import RunFilter
from receiver.runs.views import story
from receiver.workflow.commands import NoSuchRunError, NotNowError, RunCommands
from receiver.workflow.manual_runs import NotPossibleError

router = APIRouter(prefix="/api/v1/runs", route_class=GuardedRoute, tags=["runs"])


_WHOLE = answers(WholeRun, "The whole story of the run.")
_NOT_FOUND = documented(HTTPStatus.NOT_FOUND)
_CHANGES = _WHOLE | documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)


class Start(BaseModel):
    """`target` is an instance id or the name of an Auto Scaling group."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "playbook": "high-cpu",
                    "target": "i-0a1b2c3d4e5f60718",
                    "comment": "it hangs, says the customer",
                    "dry_run": True,
                }
            ]
        },
    )

    playbook: Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f]+$", max_length=128)]
    target: Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f]+$", max_length=255)]
    comment: Text
    dry_run: bool = False


class MarkBody(Comment):
    """Whether the service did right: in acting, or in leaving it."""

    right: bool = Field(examples=[True])


@router.get("", openapi_extra=needs(Role.VIEWER), responses=answers(RunPage, "A page of runs."))
def page(  # noqa: PLR0913 one argument a filter
    request: Request,
    *,
    state: State | None = None,
    playbook: Name | None = None,
    target: Name | None = None,
    since: AwareDatetime | None = None,
    limit: Limit = 100,
    cursor: Cursor | None = None,
) -> dict[str, Any]:
    """Runs without their evidence, newest first."""
    parts = parts_of(request)
    parts.dispatcher.enqueue_runs()
    with parts.database.read() as connection:
        found = store.list_runs(
            connection,
            RunFilter(
                state=state,
                playbook=playbook,
                target=target,
                since=since.timestamp() if since else None,
            ),
            before=cursor,
            limit=limit + 1,
        )
        steps = ledger.intents_by_run(connection, [run.id for run in found])
    shown = found[:limit]
    return {
        "items": [story(run, steps.get(run.id, ())) for run in shown],
        "next_cursor": shown[-1].id if len(found) > limit else None,
    }


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    openapi_extra=needs(Role.OPERATOR),
    responses=answers(WholeRun, "The run; Location says where to look how it goes.", 201),
)
def start(request: Request, response: Response, body: Start) -> dict[str, Any]:
    """Run a playbook by hand, through the same gates as for an alert.

    A dry run is decided on at once and ends there, in `observed` or `refused`: its gates and plan
    say what would be done.
    """
    parts = parts_of(request)
    token: Token = request.state.token
    try:
        run_id = parts.manual_runs.start(
            RunRequest(
                by=token.name,
                role=str(token.role),
                comment=body.comment,
                playbook=body.playbook,
                target=body.target,
                dry_run=body.dry_run,
            )
        )
    except NotPossibleError as error:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
    response.headers["Location"] = f"{router.prefix}/{run_id}"
    return one(request, run_id)


@router.get("/{run_id}", openapi_extra=needs(Role.VIEWER), responses=_WHOLE | _NOT_FOUND)
def one(request: Request, run_id: RunId) -> dict[str, Any]:
    """All that is known of one run."""
    parts = parts_of(request)
    parts.dispatcher.enqueue_runs()
    with parts.database.read() as connection:
        run = store.get(connection, run_id)
        steps = ledger.intents_by_run(connection, [run_id])
        caused = store.caused_by(connection, run_id)
    if run is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "there is no such run")
    return story(run, steps.get(run_id, ())) | {"evidence": run.evidence, "caused": caused}


@router.post("/{run_id}/approve", openapi_extra=needs(Role.OPERATOR), responses=_CHANGES)
def approve(request: Request, run_id: RunId, body: Comment) -> dict[str, Any]:
    """Say yes to the plan that waits; it is decided once more, and must come out the same."""
    return _intervened(request, run_id, body, _commands(request).approve)


@router.post("/{run_id}/deny", openapi_extra=needs(Role.OPERATOR), responses=_CHANGES)
def deny(request: Request, run_id: RunId, body: Comment) -> dict[str, Any]:
    """Say no to the plan that waits: the run ends."""
    return _intervened(request, run_id, body, _commands(request).deny)


@router.post("/{run_id}/cancel", openapi_extra=needs(Role.OPERATOR), responses=_CHANGES)
def cancel(request: Request, run_id: RunId, body: Comment) -> dict[str, Any]:
    """End the run before its next step; what was done stays done."""
    return _intervened(request, run_id, body, _commands(request).cancel)


@router.post("/{run_id}/rollback", openapi_extra=needs(Role.OPERATOR), responses=_CHANGES)
def roll_back(request: Request, run_id: RunId, body: Comment) -> dict[str, Any]:
    """Undo all that the run did and that can be undone, the last step first."""
    return _intervened(request, run_id, body, _commands(request).roll_back)


@router.post("/{run_id}/mark", openapi_extra=needs(Role.OPERATOR), responses=_CHANGES)
def mark(request: Request, run_id: RunId, body: MarkBody) -> dict[str, Any]:
    """Say whether the service did right, once the run is over; the model learns from it."""
    marking = partial(_commands(request).mark, right=body.right)
    return _intervened(request, run_id, body, marking)


def _commands(request: Request) -> RunCommands:
    parts = parts_of(request)
    return parts.commands


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
