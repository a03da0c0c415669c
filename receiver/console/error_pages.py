"""Errors outside of the console's own routes, as pages for a browser."""

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from receiver.api.parts import parts_of
from receiver.console.templating import render
from receiver.http import problems

# Programs call these, whatever they accept.
_CALLS = ("/api/", "/webhook/", "/chat/", "/metrics", "/healthz", "/readyz", "/openapi.json")
_Handler = Callable[[Request, Exception], Coroutine[Any, Any, Response]]


def install(app: FastAPI) -> None:
    app.add_exception_handler(HTTPException, _page_or(problems.http_error))
    app.add_exception_handler(SQLAlchemyError, _page_or(problems.unstored))


def _page_or(handler: _Handler) -> _Handler:
    async def handle(request: Request, error: Exception) -> Response:
        answer = await handler(request, error)
        wants_page = "text/html" in request.headers.get("accept", "")
        if not wants_page or request.url.path.startswith(_CALLS):
            return answer
        title = HTTPStatus(answer.status_code).phrase
        detail = error.detail if isinstance(error, HTTPException) else "Its records are away."
        root = parts_of(request).settings.root_path
        page = render(
            "refused.html", answer.status_code, root=root, title=title, problem=f"{title}. {detail}"
        )
        for name in ("allow", "retry-after"):
            if name in answer.headers:
                page.headers[name] = answer.headers[name]
        return page

    return handle
