"""The buttons of the run page. Each calls the same function as the API."""

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from receiver.api.params import Comment, RunId
from receiver.api.parts import parts_of, require_on_run
from receiver.console.session_route import ConsoleRoute
from receiver.http.access.auth import caller, caller_of, require_role
from receiver.http.access.callers import Role
from receiver.runs.model import REMEDIED, State
from receiver.workflow.approvals import Answer, NoSuchRunError, NotAllowedError, NotNowError
from receiver.workflow.commands import RunCommands

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


class RunAction(StrEnum):
    APPROVE = "approve"
    DENY = "deny"
    CANCEL = "cancel"
    ROLLBACK = "rollback"
    ACKNOWLEDGE = "acknowledge"
    MARK_RIGHT = "mark-right"
    MARK_WRONG = "mark-wrong"


def possible_actions(run: dict[str, Any], *, reversible: bool) -> list[RunAction]:
    """The actions to offer for a run in this state; each is checked again when it is chosen."""
    state = State(run["state"])
    rollback = [RunAction.ROLLBACK] if reversible else []
    if state is State.AWAITING_APPROVAL:
        return [RunAction.APPROVE, RunAction.DENY]
    if state in {State.RECEIVED, State.DECIDING}:
        return [RunAction.CANCEL]
    if state is State.VERIFYING:
        return [*rollback, RunAction.CANCEL]
    if not state.ended:
        return []
    known = state in REMEDIED or run["acknowledged"]
    on_it = [] if known else [RunAction.ACKNOWLEDGE]
    return [*rollback, *on_it, RunAction.MARK_RIGHT, RunAction.MARK_WRONG]


@router.post("/runs/{run_id}/{action}", openapi_extra=require_role(Role.OPERATOR))
def act(request: Request, run_id: RunId, action: RunAction) -> Response:
    fields: dict[str, str] = request.state.form
    comment = Comment(comment=fields.get("comment", "")).comment
    require_on_run(request, run_id, Role.OPERATOR)
    try:
        person = caller_of(request).person
        command = _command(parts_of(request).commands, action, fields, person)
        command(run_id, caller(request), comment)
    except NoSuchRunError:
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such run.") from None
    except NotAllowedError as error:
        raise HTTPException(HTTPStatus.FORBIDDEN, str(error)) from None
    except NotNowError as error:
        raise HTTPException(HTTPStatus.CONFLICT, str(error)) from None
    return RedirectResponse(f"/runs/{run_id}", HTTPStatus.SEE_OTHER)


def _command(
    commands: RunCommands, action: RunAction, fields: dict[str, str], person: str
) -> Callable[[str, str, str], Answer]:
    match action:
        case RunAction.APPROVE:
            # Approves only the plan that the page showed.
            plan = fields.get("digest", "")
            return partial(commands.approve, plan=plan, person=person)
        case RunAction.DENY:
            return partial(commands.deny, plan=fields.get("digest", ""))
        case RunAction.CANCEL:
            return commands.cancel
        case RunAction.ROLLBACK:
            return commands.roll_back
        case RunAction.ACKNOWLEDGE:
            return commands.acknowledge
        case RunAction.MARK_RIGHT | RunAction.MARK_WRONG:
            return partial(commands.mark, right=action is RunAction.MARK_RIGHT)
