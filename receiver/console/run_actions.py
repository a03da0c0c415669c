"""What a button does to a run: the very calls of the API, with a form in place of JSON."""

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from receiver.api.comment import Comment
from receiver.api.params import RunId
from receiver.console.session_route import ConsoleRoute
from receiver.http.auth import caller, needs
from receiver.http.tokens import Role
from receiver.runs.model import State
from receiver.workflow.interventions import Interventions, NoSuchRunError, NotNowError

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


class Deed(StrEnum):
    APPROVE = "approve"
    DENY = "deny"
    CANCEL = "cancel"
    ROLLBACK = "rollback"
    MARK_RIGHT = "mark-right"
    MARK_WRONG = "mark-wrong"


def possible(run: dict[str, Any], *, undoable: bool) -> list[Deed]:
    """What a run in this state can be asked for; the server decides when it is."""
    state = State(run["state"])
    undo = [Deed.ROLLBACK] if undoable else []
    if state is State.AWAITING_APPROVAL:
        return [Deed.APPROVE, Deed.DENY]
    if state in {State.RECEIVED, State.DECIDING}:
        return [Deed.CANCEL]
    if state is State.VERIFYING:
        return [*undo, Deed.CANCEL]
    return [*undo, Deed.MARK_RIGHT, Deed.MARK_WRONG] if state.ended else []


@router.post("/runs/{run_id}/{deed}", openapi_extra=needs(Role.OPERATOR))
def do(request: Request, run_id: RunId, deed: Deed) -> Response:
    fields: dict[str, str] = request.state.form
    comment = Comment(comment=fields.get("comment", "")).comment
    try:
        _how(request.app.state.system.interventions, deed, fields)(run_id, caller(request), comment)
    except NoSuchRunError:
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such run.") from None
    except NotNowError as error:
        raise HTTPException(HTTPStatus.CONFLICT, str(error)) from None
    return RedirectResponse(f"/runs/{run_id}", HTTPStatus.SEE_OTHER)


def _how(
    doing: Interventions, deed: Deed, fields: dict[str, str]
) -> Callable[[str, str, str], None]:
    match deed:
        case Deed.APPROVE:
            # What was on the page is what is approved, or nothing.
            return partial(doing.approve, digest=fields.get("digest", ""))
        case Deed.DENY:
            return doing.deny
        case Deed.CANCEL:
            return doing.cancel
        case Deed.ROLLBACK:
            return doing.roll_back
        case Deed.MARK_RIGHT | Deed.MARK_WRONG:
            return partial(doing.mark, right=deed is Deed.MARK_RIGHT)
