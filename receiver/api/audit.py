"""The audit: what happened, and whether the record of it is whole."""

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
from receiver.api.fields import Id, Page, Time
from receiver.api.params import Limit, Name
from receiver.api.parts import parts_of
from receiver.http.auth import GuardedRoute, needs
from receiver.http.openapi import answers
from receiver.http.tokens import Role
from receiver.runtime.rfc3339 import rfc3339

_log = structlog.get_logger()
router = APIRouter(prefix="/api/v1/audit", route_class=GuardedRoute, tags=["audit"])


class AuditView(BaseModel):
    """A record; `hash` covers all of it and `previous`, the hash of the record before."""

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
    """`first_bad` is the first record that does not hold, and `fault` what happened to it.

    Up to `anchored` a signed head speaks for the chain.
    """

    ok: bool
    records: int
    first_bad: int | None = Field(examples=[17])
    fault: ChainFault | None = Field(examples=["altered"])
    anchored: int | None = Field(examples=[16])


_PAGE = answers(AuditPage, "A page of records, newest first.")
_VERIFIED = answers(Verified, "Whether every record holds.")


@router.get("", openapi_extra=needs(Role.VIEWER), responses=_PAGE)
def page(
    request: Request,
    *,
    since: AwareDatetime | None = None,
    run: Name | None = None,
    limit: Limit = 100,
    cursor: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
) -> dict[str, Any]:
    """Audit records, newest first."""
    parts = parts_of(request)
    with parts.database.read() as connection:
        found = log.records(
            connection,
            since=since.timestamp() if since else None,
            run_id=run,
            before=cursor,
            limit=limit + 1,
        )
    items = [
        dict(row) | {"at": rfc3339(row["at"]), "detail": json.loads(row["detail"])}
        for row in found[:limit]
    ]
    return {"items": items, "next_cursor": str(items[-1]["seq"]) if len(found) > limit else None}


@router.get("/verify", openapi_extra=needs(Role.VIEWER), responses=_VERIFIED)
def verify(request: Request) -> dict[str, Any]:
    """Walk the whole chain, against the signed heads; `first_bad` is the first that is wrong."""
    parts = parts_of(request)
    try:
        return asdict(parts.head_signer.verify())
    except (ArchiveError, KeyFileError) as error:
        _log.error("audit_heads_unreadable", why=str(error))
        said = "the signed heads cannot be read, or one is forged: the log says which"
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, said) from None
