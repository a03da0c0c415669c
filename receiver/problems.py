"""Errors as RFC 9457 problem details: one clear line, no stack trace, nothing secret."""

from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

_log = structlog.get_logger()


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    body = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    return JSONResponse(body, status, headers, media_type="application/problem+json")


async def _http(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    return problem(error.status_code, error.detail, dict(error.headers or {}))


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    faults = error.errors()
    if faults and faults[0]["type"] == "json_invalid":
        return problem(HTTPStatus.BAD_REQUEST, "the body is not JSON")
    lines = (f"{'.'.join(str(part) for part in f['loc'])}: {f['msg']}" for f in faults[:5])
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, "; ".join(lines))


async def _unstored(request: Request, error: Exception) -> JSONResponse:
    _log.error("records_unreachable", path=request.url.path, error=type(error).__name__)
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, "the records cannot be reached")


async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    _log.error("request_failed", path=request.url.path, error=type(error).__name__)
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "an unforeseen error; the log has its name")


def install(app: FastAPI) -> None:
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(SQLAlchemyError, _unstored)
    app.add_exception_handler(Exception, _unforeseen)
