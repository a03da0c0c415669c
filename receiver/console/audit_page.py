"""The audit records, and the verification of their chain."""

from fastapi import APIRouter, HTTPException, Request, Response

from receiver.api import audit
from receiver.console.session_route import ConsoleRoute
from receiver.console.templating import render_page
from receiver.console.time_range import SPANS_H, start_of
from receiver.http.access.auth import require_role
from receiver.http.access.callers import Role

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
_PAGE = 100
_SEQ_LIMIT = 2**63
_UNUSABLE = 422


@router.get("/audit", openapi_extra=require_role(Role.VIEWER))
def show_audit(request: Request) -> Response:
    filters = {key: request.query_params.get(key, "") for key in ("run", "since", "cursor")}
    run = filters["run"][:255] if filters["run"].isprintable() else ""
    records = audit.list_records(
        request,
        run=run or None,
        since=start_of(filters["since"]) if filters["since"] else None,
        cursor=_cursor(filters["cursor"]),
        limit=_PAGE,
    )
    return render_page(
        request,
        "audit.html",
        records=records["items"],
        cursor=records["next_cursor"],
        filters=filters | {"run": run},
        spans=list(SPANS_H),
        verified=audit.verify(request) if "verify" in request.query_params else None,
    )


@router.get("/audit/verified", openapi_extra=require_role(Role.VIEWER))
def show_verification(request: Request) -> Response:
    """Verify the chain, in a request after the page, because a long chain takes time."""
    return render_page(request, "verification.html", verified=audit.verify(request))


def _cursor(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) < _SEQ_LIMIT):
        raise HTTPException(_UNUSABLE, "Unknown page of the audit.")
    return int(text[:20])
