"""Whether the service lives, whether it is ready, and its metrics. Open to all."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from receiver.system import System

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(request: Request) -> JSONResponse:
    """Whether alerts can be stored and decided; each check says what is wrong, or "ok"."""
    system: System = request.app.state.system
    checks = system.checks()
    ready = all(answer == "ok" for answer in checks.values())
    return JSONResponse({"ready": ready, "checks": checks}, 200 if ready else 503)


@router.get("/metrics")
def metrics(request: Request) -> Response:
    """Prometheus' text format."""
    system: System = request.app.state.system
    system.refresh_gauges()
    return Response(generate_latest(system.metrics.registry), media_type=CONTENT_TYPE_LATEST)
