"""The audit records, and the verification of their chain."""

import json
from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, HTTPException, Query, Request
from pydantic import AwareDatetime, BaseModel, Field

from actions.audit import log
from actions.audit.archive import ArchiveError
from actions.audit.chain import ChainFault
from actions.audit.signed_heads import KeyFileError
from receiver.api.params import Id, Limit, Name, Page, Time
from receiver.api.parts import parts_of
from receiver.http.access.auth import (
    GuardedRoute,
    caller_of,
    require_everywhere,
    require_on,
    require_role,
)
from receiver.http.access.callers import Role, Subject
from receiver.http.openapi import answers
from receiver.runs.subjects import subjects_by_run
from receiver.runtime.rfc3339 import rfc3339

_log = structlog.get_logger()
HEADS_UNREADABLE = (
    "the signed heads cannot be read, or a signature is invalid: the log names the cause"
)
router = APIRouter(prefix="/api/v1/audit", route_class=GuardedRoute, tags=["audit"])


class AuditView(BaseModel):
    """A record; `hash` covers the whole record and `previous`, the hash of the preceding record."""

    seq: int
    at: Time
    actor: str = Field(examples=["alice"])
    event: str = Field(examples=["paused"])
    run_id: Id | None
    detail: dict[str, Any]
    previous: str
    hash: str


class AuditPage(Page):
    items: list[AuditView]


class Verified(BaseModel):
    """The result; `first_bad` is the first invalid record, `fault` its kind.

    Signed heads cover the records up to `anchored`.
    """

    ok: bool
    records: int
    first_bad: int | None = Field(examples=[17])
    fault: ChainFault | None = Field(examples=["altered"])
    anchored: int | None = Field(examples=[16])


_PAGE = answers(AuditPage, "A page of records, newest first.")
_VERIFIED = answers(Verified, "Whether every record is valid.")


@router.get("", openapi_extra=require_role(Role.VIEWER), responses=_PAGE)
def list_records(
    request: Request,
    *,
    since: AwareDatetime | None = None,
    run: Name | None = None,
    limit: Limit = 100,
    cursor: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
) -> dict[str, Any]:
    """Audit records, newest first."""
    parts = parts_of(request)
    if not caller_of(request).may_everywhere(Role.VIEWER):
        _require_run(request, run)
    with parts.database.read() as connection:
        records = log.records(
            connection,
            since=since.timestamp() if since else None,
            run_id=run,
            before=cursor,
            limit=limit + 1,
        )
    items = [
        dict(row) | {"at": rfc3339(row["at"]), "detail": json.loads(row["detail"])}
        for row in records[:limit]
    ]
    return {"items": items, "next_cursor": str(items[-1]["seq"]) if len(records) > limit else None}


def _require_run(request: Request, run: str | None) -> None:
    """Raise HTTPException unless the records are of one run that the caller may see."""
    if run is None:
        require_everywhere(request, Role.VIEWER)
        return
    with parts_of(request).database.read() as connection:
        require_on(request, Role.VIEWER, subjects_by_run(connection, [run]).get(run, Subject()))


@router.get("/verify", openapi_extra=require_role(Role.VIEWER), responses=_VERIFIED)
def verify(request: Request) -> dict[str, Any]:
    """Verify the whole chain, and compare it with the signed heads."""
    parts = parts_of(request)
    try:
        return asdict(parts.head_signer.verify())
    except (ArchiveError, KeyFileError) as error:
        _log.error("audit_heads_read_failed", reason=str(error))
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, HEADS_UNREADABLE) from None
