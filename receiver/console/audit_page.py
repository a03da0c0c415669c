"""The audit, and whether it holds."""

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, HTTPException, Request, Response

from receiver.api import audit
from receiver.console.home_page import SPANS_H
from receiver.console.session_route import ConsoleRoute
from receiver.console.templating import page
from receiver.http.auth import needs
from receiver.http.tokens import Role

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
_PAGE = 100
_SEQ_MOST = 2**63
_UNUSABLE = 422


@router.get("/audit", openapi_extra=needs(Role.VIEWER))
def shown(request: Request) -> Response:
    asked = {key: request.query_params.get(key, "") for key in ("run", "since", "cursor")}
    run = asked["run"][:255] if asked["run"].isprintable() else ""
    found = audit.page(
        request,
        run=run or None,
        since=_since(asked["since"]),
        cursor=_cursor(asked["cursor"]),
        limit=_PAGE,
    )
    return page(
        request,
        "audit.html",
        records=found["items"],
        cursor=found["next_cursor"],
        asked=asked | {"run": run},
        spans=list(SPANS_H),
        verified=audit.verify(request) if "verify" in request.query_params else None,
    )


@router.get("/audit/verified", openapi_extra=needs(Role.VIEWER))
def verified(request: Request) -> Response:
    """Apart from the page: the chain may be long."""
    return page(request, "verified.html", verified=audit.verify(request))


def _since(span: str) -> datetime | None:
    if not span:
        return None
    if span not in SPANS_H:
        raise HTTPException(_UNUSABLE, "There is no such span of time.")
    return datetime.now(UTC) - timedelta(hours=SPANS_H[span])


def _cursor(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) < _SEQ_MOST):
        raise HTTPException(_UNUSABLE, "There is no such page.")
    return int(text[:20])
