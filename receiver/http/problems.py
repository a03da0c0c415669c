"""Errors as RFC 9457 problem details: one line without stack trace or secrets."""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

_log = structlog.get_logger()
MEDIA_TYPE = "application/problem+json"
_DETAIL_MAX = 1000


class Problem(BaseModel):
    """An error by RFC 9457; `request_id` is also in the log and in the header X-Request-ID."""

    type: str = Field(examples=["about:blank"])
    title: str = Field(examples=["Conflict"])
    status: int = Field(examples=[409])
    detail: str = Field(examples=["a run that is succeeded cannot be approved"])
    request_id: str | None = Field(examples=["9f2c1e0b7a6d5c4f3e2d1c0b9a"])


_DESCRIPTIONS = {
    HTTPStatus.BAD_REQUEST: "The body is not JSON.",
    HTTPStatus.UNAUTHORIZED: "The request has no valid token.",
    HTTPStatus.FORBIDDEN: "The token's role does not suffice.",
    HTTPStatus.NOT_FOUND: "Nothing with this name exists.",
    HTTPStatus.CONFLICT: "The present state does not allow this; the detail names it.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
    HTTPStatus.REQUEST_URI_TOO_LONG: "The path or the query is too long.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "A value cannot be used; the detail names it.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests; Retry-After says when to try again.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The database is unavailable, or too many deliveries arrive.",
}


class ProblemError(HTTPException):
    """An error with further members (`more`) in the answer."""

    def __init__(self, status: int, detail: str, **more: Any) -> None:
        super().__init__(status, detail)
        self.more = more


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        int(status): {"description": _DESCRIPTIONS[HTTPStatus(status)], "content": content}
        for status in statuses
    }


def problem(
    status: int,
    detail: str,
    headers: dict[str, str] | None = None,
    *,
    request_id: str | None = None,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> JSONResponse:
    """The response to an error; `more` are further members of its body."""
    body = Problem(
        type="about:blank",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        request_id=request_id,
    )
    content = {**body.model_dump(), **more}
    return JSONResponse(content, status, headers, media_type=MEDIA_TYPE)


def _of(request: Request, status: int, detail: str) -> JSONResponse:
    return problem(status, detail, request_id=getattr(request.state, "request_id", None))


def problem_of(request: Request, error: HTTPException) -> JSONResponse:
    request_id = getattr(request.state, "request_id", None)
    return problem(
        error.status_code,
        error.detail,
        dict(error.headers or {}),
        request_id=request_id,
        more=getattr(error, "more", {}),
    )


async def http_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    return problem_of(request, error)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    faults = error.errors()
    if faults and faults[0]["type"] == "json_invalid":
        return _of(request, HTTPStatus.BAD_REQUEST, "the body is not JSON")
    lines = (f"{'.'.join(str(part) for part in f['loc'])}: {f['msg']}" for f in faults[:5])
    detail = " ".join("; ".join(lines).split())[:_DETAIL_MAX]
    # The input is left out: it may contain lone surrogates, and the response must be UTF-8.
    detail = detail.encode("utf-8", "replace").decode()
    return _of(request, HTTPStatus.UNPROCESSABLE_ENTITY, detail)


async def unstored(request: Request, error: Exception) -> JSONResponse:
    _log.error("records_access_failed", path=request.url.path, error=type(error).__name__)
    return _of(request, HTTPStatus.SERVICE_UNAVAILABLE, "the records cannot be reached")


def install(app: FastAPI) -> None:
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(SQLAlchemyError, unstored)
