"""The kill switch, from any page."""

from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from receiver.console.doorway import ConsoleRoute
from receiver.guarded import needs
from receiver.routes import control
from receiver.routes.comments import Comment
from receiver.tokens import Role

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


@router.post("/pause", openapi_extra=needs(Role.OPERATOR))
def pause(request: Request) -> Response:
    control.pause(request, Comment(comment=request.state.form.get("comment", "")))
    return RedirectResponse("/", HTTPStatus.SEE_OTHER)


@router.post("/resume", openapi_extra=needs(Role.OPERATOR))
def resume(request: Request) -> Response:
    control.resume(request, Comment(comment=request.state.form.get("comment", "")))
    return RedirectResponse("/", HTTPStatus.SEE_OTHER)
