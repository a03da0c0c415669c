"""Rendering of pages, their security headers, and the static files."""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse

from actions.canonical_json import canonical
from actions.execution import kill_switch
from receiver.api.parts import Parts, parts_of
from receiver.console import labels
from receiver.html.templates import html_environment
from receiver.http.access.auth import caller_of
from receiver.http.access.callers import Role
from receiver.runtime.rfc3339 import rfc3339

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
    """A static file, as it is and by gzip: it is the same for everybody, and so may be compressed.

    Pages are not: their secrets would show in their length (https://www.breachattack.com/).
    """

    content: bytes
    compressed: bytes
    media_type: str


def _assets() -> Mapping[str, Asset]:
    """The static files, by names with a hash of the content that let browsers cache them."""
    assets = {}
    for path in (_HERE / "assets").iterdir():
        if path.suffix in _TYPES:
            content = path.read_bytes()
            name = f"{path.stem}.{hashlib.sha256(content).hexdigest()[:12]}{path.suffix}"
            assets[name] = Asset(content, gzip.compress(content, mtime=0), _TYPES[path.suffix])
    return assets


ASSETS = _assets()
_ASSET_URLS = {
    f"{name.split('.')[0].split('-')[0]}_{name.rsplit('.', 1)[1]}": f"/assets/{name}"
    for name in ASSETS
}

_templates = html_environment(
    _HERE / "templates",
    {
        "utc": labels.utc,
        "duration": labels.duration,
        "state_label": labels.state_label,
        "words": labels.words,
    },
    assets=_ASSET_URLS,
    labels=labels,
)


def render(template: str, status: int = HTTPStatus.OK, **context: Any) -> HTMLResponse:
    """Render a page, or a part of one, without a session."""
    text = _templates.get_template(template).render(context)
    return HTMLResponse(text, status, headers=_HEADERS)


def render_page(
    request: Request,
    template: str,
    status: int = HTTPStatus.OK,
    **context: Any,
) -> HTMLResponse:
    """Render a page, or a part of one, for the session's caller."""
    parts, who = parts_of(request), caller_of(request)
    switch = switch_view(parts)
    return render(
        template,
        status,
        caller=who,
        may_act=who.may(Role.OPERATOR),
        csrf=request.state.csrf,
        path=request.url.path,
        now=parts.clock(),
        mode=str(parts.settings.mode),
        root=parts.settings.root_path,
        switch=switch,
        accounts=sorted({place.account for place in parts.places if place.account}),
        regions=sorted({place.region for place in parts.places if place.account}),
        switch_version=content_version(switch),
        **context,
    )


def render_error(request: Request, status: int, problem: str) -> HTMLResponse:
    run_id = request.path_params.get("run_id")
    back = f"/runs/{run_id}" if run_id and status != HTTPStatus.NOT_FOUND else "/"
    return render_page(
        request, "error.html", status, title=HTTPStatus(status).phrase, problem=problem, back=back
    )


def switch_view(parts: Parts) -> dict[str, Any]:
    """The state of the kill switch. An unknown state is shown as paused, since no step is sent.

    And of each account and region: its own pauses, and why it does not answer.
    """
    with parts.database.read() as connection:
        state, pauses = kill_switch.read_switch(connection), kill_switch.list_pauses(connection)
    where = {
        "pauses": [{**vars(pause), "changed_at": rfc3339(pause.changed_at)} for pause in pauses],
        "unusable": [f"{place}: {error}" for place, error in sorted(parts.unusable.items())],
    }
    if state is None:
        comment = "the state of the kill switch is unknown, so no step is sent"
        nobody = {"comment": comment, "changed_by": "nobody", "changed_at": None}
        return {"paused": True, **nobody, **where}
    return {
        **where,
        "paused": state.paused,
        "comment": state.comment,
        "changed_by": state.changed_by,
        "changed_at": rfc3339(state.changed_at),
    }


def content_version(content: object) -> str:
    """A hash of a page's content; a poll that sends it gets 204 while the content is the same."""
    return hashlib.sha256(canonical(content).encode()).hexdigest()[:16]
