"""The playbooks as they are loaded, how each has done, and running one by hand."""

from http import HTTPStatus
from typing import Any, NamedTuple

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from receiver import tallies
from receiver.console.doorway import ConsoleRoute
from receiver.console.pages import page
from receiver.guarded import needs
from receiver.routes import control, runs
from receiver.run import State
from receiver.settings import Mode
from receiver.system import System
from receiver.tokens import Role

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
_DAYS = 30


class Part(NamedTuple):
    """`start` and `width` of a bar, in hundredths of it."""

    text: str
    tone: str
    runs: int
    start: float
    width: float


_PARTS = (
    ("recovered", "good", (State.SUCCEEDED,)),
    ("failed or undone", "bad", (State.FAILED, State.ROLLED_BACK, State.EXPIRED)),
    ("refused, observed or cancelled", "quiet", (State.REFUSED, State.OBSERVED, State.CANCELLED)),
    ("resolved by itself", "busy", (State.RESOLVED,)),
)


@router.get("/playbooks", openapi_extra=needs(Role.VIEWER))
def shown(request: Request) -> Response:
    system: System = request.app.state.system
    with system.database.read() as connection:
        counts = tallies.by_playbook(connection, system.clock() - _DAYS * 86_400.0)
    found = [
        one | {"record": record(counts.get(one["name"], {})), "goes": _goes(system, one["mode"])}
        for one in control.playbooks(request)["items"]
    ]
    return page(request, "playbooks.html", playbooks=found, days=_DAYS)


@router.post("/playbooks/{name}/run", openapi_extra=needs(Role.OPERATOR))
def run(request: Request, name: str) -> Response:
    fields: dict[str, str] = request.state.form
    body = runs.Start(
        playbook=name,
        target=fields.get("target", "").strip(),
        comment=fields.get("comment", ""),
        dry_run=fields.get("how") != "act",
    )
    started = runs.start(request, Response(), body)
    return RedirectResponse(f"/runs/{started['id']}", HTTPStatus.SEE_OTHER)


def record(counts: Any) -> dict[str, Any]:  # noqa: ANN401 a mapping of states
    """How a playbook's ended runs ended; `rate` is None where it has not acted."""
    numbers = [sum(counts.get(state, 0) for state in states) for _, _, states in _PARTS]
    total, acted = sum(numbers), numbers[0] + numbers[1]
    parts, start = [], 0.0
    for (text, tone, _), number in zip(_PARTS, numbers, strict=True):
        width = 100 * number / total if total else 0.0
        parts.append(Part(text, tone, number, round(start, 2), round(width, 2)))
        start += width
    return {"parts": parts, "total": total, "rate": numbers[0] / acted if acted else None}


def _goes(system: System, mode: str) -> str:
    """How far it may go: the weaker of its own mode and the service's."""
    order = list(Mode)
    return str(min(Mode(mode), system.settings.mode, key=order.index))
