"""The playbooks as they are loaded, how each has done, and running one by hand."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from receiver.api import arming, control, runs
from receiver.api.params import PlaybookName
from receiver.console.session_route import ConsoleRoute
from receiver.console.templating import page
from receiver.http.auth import needs
from receiver.http.tokens import Role
from receiver.runs import stats
from receiver.runs.model import State
from receiver.runtime.rfc3339 import DAY_S
from receiver.system import System

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
        counts = stats.by_playbook(connection, system.clock() - _DAYS * DAY_S)
    found = [
        one | {"record": record(counts.get(one["name"], {}))}
        for one in control.playbooks(request)["items"]
    ]
    may_arm = request.state.token.role.may(Role.ADMIN)
    return page(request, "playbooks.html", playbooks=found, days=_DAYS, may_arm=may_arm)


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


@router.post("/playbooks/{name}/arm", openapi_extra=needs(Role.ADMIN))
def arm(request: Request, name: PlaybookName) -> Response:
    fields: dict[str, str] = request.state.form
    said = {key: fields.get(key) or None for key in ("service", "mode", "canary_percent")}
    force = "force" in fields
    body = arming.ArmBody.model_validate(said | {"comment": _comment(fields), "force": force})
    arming.arm(request, name, body)
    return RedirectResponse("/playbooks", HTTPStatus.SEE_OTHER)


@router.post("/playbooks/{name}/disarm", openapi_extra=needs(Role.ADMIN))
def disarm(request: Request, name: PlaybookName) -> Response:
    fields: dict[str, str] = request.state.form
    body = arming.DisarmBody(service=fields.get("service") or None, comment=_comment(fields))
    arming.disarm(request, name, body)
    return RedirectResponse("/playbooks", HTTPStatus.SEE_OTHER)


def _comment(fields: Mapping[str, str]) -> str:
    return fields.get("comment", "")


def record(counts: Any) -> dict[str, Any]:
    """How a playbook's ended runs ended; `rate` is None where it has not acted."""
    numbers = [sum(counts.get(state, 0) for state in states) for _, _, states in _PARTS]
    total, acted = sum(numbers), numbers[0] + numbers[1]
    parts, start = [], 0.0
    for (text, tone, _), number in zip(_PARTS, numbers, strict=True):
        width = 100 * number / total if total else 0.0
        parts.append(Part(text, tone, number, round(start, 2), round(width, 2)))
        start += width
    return {"parts": parts, "total": total, "rate": numbers[0] / acted if acted else None}
