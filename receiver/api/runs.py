"""The runs, one run in full, and the commands of people on a run."""

from collections.abc import Callable, Collection
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from pydantic import Field, StringConstraints

from actions.aws.instances import INSTANCE_ID
from actions.evidence import EvidenceError
from actions.execution import ledger
from receiver.api.params import (
    CaptureName,
    Comment,
    RunId,
)
from receiver.api.parts import parts_of, require_on_run
from receiver.api.run_schema import CommandedRun, RunPage, RunQuery, Start, WholeRun
from receiver.http.access.auth import (
    GuardedRoute,
    caller,
    caller_of,
    require_on,
    require_role,
)
from receiver.http.access.callers import Role, Subject
from receiver.http.openapi import answers
from receiver.http.problems import ProblemError, documented
from receiver.runs import store
from receiver.runs.manual_runs import NotPossibleError
from receiver.runs.model import RunRequest
from receiver.runs.queries import listing
from receiver.runs.queries.search import RunFilter
from receiver.runs.subjects import subjects_of
from receiver.runs.views import run_view
from receiver.workflow.approvals import (
    Answer,
    NoSuchRunError,
    NotAllowedError,
    NotNowError,
    PlanChangedError,
)
from receiver.workflow.commands import RunCommands

router = APIRouter(prefix="/api/v1/runs", route_class=GuardedRoute, tags=["runs"])


_WHOLE = answers(WholeRun, "The run in full.")
_NOT_FOUND = documented(HTTPStatus.NOT_FOUND)
_CAPTURED = answers(dict[str, Any], "The captured object.")
_COMMANDED = answers(CommandedRun, "The run, and in `answer` what was done.")
_CHANGES = _COMMANDED | documented(HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)


class PlanAnswer(Comment):
    """`plan` is the run's `plan.digest`. If the run has another plan by now, the answer is 409."""

    plan: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] = Field(examples=["0" * 64])


class SeenPlan(Comment):
    """`plan` is the digest of the plan that the person saw; 409 if the plan has changed."""

    plan: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None


class MarkBody(Comment):
    """Whether the decision was correct."""

    right: bool = Field(examples=[True])


@router.get(
    "", openapi_extra=require_role(Role.VIEWER), responses=answers(RunPage, "A page of runs.")
)
def list_runs(request: Request, query: Annotated[RunQuery, Query()]) -> dict[str, Any]:
    """Runs without their evidence, newest first."""
    return find_runs(request, query)


def find_runs(
    request: Request, query: RunQuery, *, among: Collection[str] | None = None
) -> dict[str, Any]:
    """A page of runs, of those with the ids `among` where that is given."""
    parts = parts_of(request)
    equal = query.model_dump(exclude={"q", "since", "until", "limit", "cursor"})
    wanted = RunFilter(
        **equal,
        text=query.q,
        since=query.since.timestamp() if query.since else None,
        until=query.until.timestamp() if query.until else None,
        among=among,
        scopes=caller_of(request).scopes(Role.VIEWER),
    )
    with parts.inbox.database.read() as inbox, parts.database.read() as connection:
        runs = listing.list_runs(
            connection, inbox, wanted, before=query.cursor, limit=query.limit + 1
        )
        steps = ledger.intents_by_run(connection, [run.id for run in runs])
    shown = runs[: query.limit]
    return {
        "items": [run_view(run, steps.get(run.id, ())) for run in shown],
        "next_cursor": shown[-1].id if len(runs) > query.limit else None,
    }


@router.post(
    "",
    status_code=HTTPStatus.CREATED,
    openapi_extra=require_role(Role.OPERATOR),
    responses=answers(WholeRun, "The run; Location is its address.", 201),
)
def start_run(request: Request, response: Response, body: Start) -> dict[str, Any]:
    """Run a playbook by hand, through the same guards as for an alert.

    A dry run is decided at once and ends in `observed` or `refused`; its gates and plan show what
    a real run would do.
    """
    parts, who = parts_of(request), caller_of(request)
    # The group of an instance is known only once it is decided on.
    service = None if INSTANCE_ID.match(body.target) else body.target
    asked = Subject(account=body.account, service=service, playbook=body.playbook)
    require_on(request, Role.OPERATOR, asked)
    try:
        run_id = parts.manual_runs.start(
            RunRequest(
                by=who.name,
                person=who.person,
                role=str(who.role),
                comment=body.comment,
                playbook=body.playbook,
                target=body.target,
                dry_run=body.dry_run,
                account=body.account or "",
                region=body.region or "",
            )
        )
    except NotPossibleError as error:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
    response.headers["Location"] = f"{router.prefix}/{run_id}"
    return show_run(request, run_id)


@router.get("/{run_id}", openapi_extra=require_role(Role.VIEWER), responses=_WHOLE | _NOT_FOUND)
def show_run(request: Request, run_id: RunId) -> dict[str, Any]:
    """One run in full."""
    parts = parts_of(request)
    with parts.inbox.database.read() as inbox, parts.database.read() as connection:
        run = listing.get(connection, inbox, run_id)
        steps = ledger.intents_by_run(connection, [run_id])
        caused = store.caused_by(connection, run_id)
    if run is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "there is no such run")
    require_on(request, Role.VIEWER, *subjects_of(run))
    return run_view(run, steps.get(run_id, ())) | {"evidence": run.evidence, "caused": caused}


@router.get(
    "/{run_id}/captures/{name}",
    openapi_extra=require_role(Role.OPERATOR),
    responses=_CAPTURED | _NOT_FOUND | documented(HTTPStatus.CONFLICT),
)
def show_capture(request: Request, run_id: RunId, name: CaptureName) -> Response:
    """What was captured of the target before a step, as it was archived."""
    require_on_run(request, run_id, Role.OPERATOR)
    evidence = parts_of(request).lifecycle.step_runner.executor.evidence
    kept = [
        item for capture in show_run(request, run_id)["captures"] for item in capture["objects"]
    ]
    found = next((item for item in kept if item["name"] == name), None)
    if found is None or evidence is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "the run has no such capture")
    try:
        data = evidence.read(name, found["sha256"])
    except EvidenceError as error:
        raise HTTPException(HTTPStatus.CONFLICT, str(error)) from None
    return Response(data, media_type="application/json")


@router.post(
    "/{run_id}/approve",
    openapi_extra=require_role(Role.OPERATOR),
    responses=_CHANGES | answers(CommandedRun, "The run, which still waits.", 202),
)
def approve(
    request: Request, response: Response, run_id: RunId, body: PlanAnswer
) -> dict[str, Any]:
    """Approve the plan. The run is decided again, and acts if the plan is still the same.

    202: the run still waits, for one more person (`plan.approvals`) or for the end of a pause.
    """
    person = caller_of(request).person
    command = partial(_commands(request).approve, plan=body.plan, person=person)
    return _apply(request, run_id, body, command, response)


@router.post("/{run_id}/deny", openapi_extra=require_role(Role.OPERATOR), responses=_CHANGES)
def deny(request: Request, run_id: RunId, body: PlanAnswer) -> dict[str, Any]:
    """Deny the plan: the run ends."""
    return _apply(request, run_id, body, partial(_commands(request).deny, plan=body.plan))


@router.post("/{run_id}/cancel", openapi_extra=require_role(Role.OPERATOR), responses=_CHANGES)
def cancel(request: Request, run_id: RunId, body: SeenPlan) -> dict[str, Any]:
    """End the run before its next step. Steps already taken are not rolled back."""
    return _apply(request, run_id, body, partial(_commands(request).cancel, plan=body.plan))


@router.post("/{run_id}/rollback", openapi_extra=require_role(Role.OPERATOR), responses=_CHANGES)
def roll_back(request: Request, run_id: RunId, body: SeenPlan) -> dict[str, Any]:
    """Roll back the run's reversible steps, the last one first."""
    return _apply(request, run_id, body, partial(_commands(request).roll_back, plan=body.plan))


@router.post("/{run_id}/mark", openapi_extra=require_role(Role.OPERATOR), responses=_CHANGES)
def mark(request: Request, run_id: RunId, body: MarkBody) -> dict[str, Any]:
    """Give feedback on an ended run; training uses it as a label."""
    command = partial(_commands(request).mark, right=body.right)
    return _apply(request, run_id, body, command)


@router.post("/{run_id}/acknowledge", openapi_extra=require_role(Role.OPERATOR), responses=_CHANGES)
def acknowledge(request: Request, run_id: RunId, body: Comment) -> dict[str, Any]:
    """Say that a person is on it: people are not told again that nobody is."""
    return _apply(request, run_id, body, _commands(request).acknowledge)


def _commands(request: Request) -> RunCommands:
    parts = parts_of(request)
    return parts.commands


def _apply(
    request: Request,
    run_id: str,
    body: Comment,
    command: Callable[[str, str, str], Answer],
    response: Response | None = None,
) -> dict[str, Any]:
    require_on_run(request, run_id, Role.OPERATOR)
    try:
        answer = command(run_id, caller(request), body.comment)
    except NoSuchRunError:
        raise HTTPException(HTTPStatus.NOT_FOUND, "there is no such run") from None
    except NotAllowedError as error:
        raise HTTPException(HTTPStatus.FORBIDDEN, str(error)) from None
    except PlanChangedError as error:
        more = {"plans": {"given": error.given, "current": error.current}}
        raise ProblemError(HTTPStatus.CONFLICT, str(error), **more) from None
    except NotNowError as error:
        raise HTTPException(HTTPStatus.CONFLICT, str(error)) from None
    if response is not None and answer.waits:
        response.status_code = HTTPStatus.ACCEPTED
    return show_run(request, run_id) | {"answer": answer.text}
