"""Liveness, readiness and metrics; a token is required for the scores of watched hosts alone."""

from http import HTTPStatus
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, Field

from receiver.api.parts import parts_of
from receiver.http.access.auth import GuardedRoute, require_role
from receiver.http.access.callers import Role
from receiver.http.openapi import answers
from receiver.http.problems import documented

router = APIRouter(tags=["health"])


class Alive(BaseModel):
    status: Literal["ok"]


class Ready(BaseModel):
    ready: bool
    checks: dict[str, str] = Field(examples=[{"database": "ok", "inbox": "ok", "records": "ok"}])


_URI_TOO_LONG = documented(HTTPStatus.REQUEST_URI_TOO_LONG)
_TOO_MANY = documented(HTTPStatus.TOO_MANY_REQUESTS)
_READY = answers(Ready, "Every check is ok.") | answers(Ready, "A check failed.", 503)
_TEXT: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Prometheus' text format.",
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
}


@router.head("/healthz", include_in_schema=False, response_model=None)
@router.get(
    "/healthz",
    response_model=None,
    responses=answers(Alive, "The process is alive.") | _URI_TOO_LONG,
)
async def healthz() -> dict[str, str]:
    """Answer while the process is alive."""
    return {"status": "ok"}


@router.head("/readyz", include_in_schema=False, response_model=None)
@router.get("/readyz", response_model=None, responses=_READY | _URI_TOO_LONG | _TOO_MANY)
def readyz(request: Request) -> JSONResponse:
    """Whether alerts can be stored and decided. Each check is "ok" or has the failure.

    `aws` says whether AWS answers lately; alerts are taken in any case.
    """
    parts = parts_of(request)
    checks = parts.checks()
    ready = all(answer == "ok" for name, answer in checks.items() if name != "aws")
    return JSONResponse({"ready": ready, "checks": checks}, 200 if ready else 503)


@router.head("/metrics", include_in_schema=False, response_model=None)
@router.get(
    "/metrics",
    response_model=None,
    response_class=Response,
    responses=_TEXT | _URI_TOO_LONG | _TOO_MANY,
)
def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    parts = parts_of(request)
    parts.refresh_gauges()
    return Response(generate_latest(parts.registry), media_type=CONTENT_TYPE_LATEST)


def watch_metrics(request: Request) -> Response:
    """The scores of watched hosts, in Prometheus' text format; ids are labels here alone."""
    return Response(parts_of(request).watch_scores.text(), media_type=CONTENT_TYPE_LATEST)


router.add_api_route(
    "/metrics/watch",
    watch_metrics,
    response_model=None,
    response_class=Response,
    responses=_TEXT,
    openapi_extra=require_role(Role.VIEWER, everything=True),
    route_class_override=GuardedRoute,
)
