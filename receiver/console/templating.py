"""How a page is made: templates that escape everything, and headers that let nothing else in."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from actions.audit.log import canonical
from actions.execution import kill_switch
from receiver.console import labels
from receiver.html.templates import html_environment
from receiver.http.tokens import Role, Token
from receiver.runtime.rfc3339 import rfc3339
from receiver.system import System

_HERE = Path(__file__).parent
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
}
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


@dataclass(frozen=True)
class Asset:
    content: bytes
    media_type: str


def _assets() -> Mapping[str, Asset]:
    """By a name that changes with the content, so that a browser may keep each for ever."""
    found = {}
    for path in (_HERE / "assets").iterdir():
        if path.suffix in _TYPES:
            content = path.read_bytes()
            name = f"{path.stem}.{hashlib.sha256(content).hexdigest()[:12]}{path.suffix}"
            found[name] = Asset(content, _TYPES[path.suffix])
    return found


ASSETS = _assets()
_ASSET_URLS = {
    f"{name.split('.')[0].split('-')[0]}_{name.rsplit('.', 1)[1]}": f"/assets/{name}"
    for name in ASSETS
}

_templates = html_environment(
    _HERE / "templates",
    {
        "utc": labels.utc,
        "span": labels.span,
        "state": labels.state,
        "reason": labels.reason,
    },
    assets=_ASSET_URLS,
    wording=labels,
)


def render(template: str, status: int = HTTPStatus.OK, **context: Any) -> HTMLResponse:
    """A page, or a part of one, for anybody."""
    text = _templates.get_template(template).render(context)
    return HTMLResponse(text, status, headers=_HEADERS)


def page(
    request: Request,
    template: str,
    status: int = HTTPStatus.OK,
    **context: Any,
) -> HTMLResponse:
    """A page, or a part of one, for who is logged in."""
    system: System = request.app.state.system
    token: Token = request.state.token
    state = switch_story(system)
    return render(
        template,
        status,
        me=token,
        may_act=token.role.may(Role.OPERATOR),
        csrf=request.state.csrf,
        path=request.url.path,
        now=system.clock(),
        mode=str(system.settings.mode),
        switch=state,
        switch_mark=seen(state),
        **context,
    )


def error_page(request: Request, status: int, problem: str) -> HTMLResponse:
    run_id = request.path_params.get("run_id")
    back = f"/runs/{run_id}" if run_id and status != HTTPStatus.NOT_FOUND else "/"
    return page(
        request, "error.html", status, title=HTTPStatus(status).phrase, problem=problem, back=back
    )


def switch_story(system: System) -> dict[str, Any]:
    """The kill switch; unknown counts as paused."""
    with system.database.read() as connection:
        state = kill_switch.read_switch(connection)
    if state is None:
        said = "it is not known whether it is paused, so nothing acts"
        return {"paused": True, "comment": said, "changed_by": "nobody", "changed_at": None}
    return {
        "paused": state.paused,
        "comment": state.comment,
        "changed_by": state.changed_by,
        "changed_at": rfc3339(state.changed_at),
    }


def seen(shown: object) -> str:
    """A short name of what a page shows: what has not changed is not sent again."""
    return hashlib.sha256(canonical(shown).encode()).hexdigest()[:16]
