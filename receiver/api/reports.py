"""The report of a period, with its success figures."""

from functools import partial
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime, BaseModel, Field

from actions.audit.archive import ArchiveError
from actions.audit.chain import Verification
from actions.audit.signed_heads import KeyFileError
from receiver.api.audit import HEADS_UNREADABLE
from receiver.api.parts import Parts, parts_of
from receiver.http.access.auth import GuardedRoute, require_role
from receiver.http.access.callers import Role
from receiver.http.openapi import answers
from receiver.reports.figures import availability
from receiver.reports.report import ReportInput, make_report, query_number
from receiver.runtime.rfc3339 import DAY_S

_log = structlog.get_logger()
router = APIRouter(prefix="/api/v1/report", route_class=GuardedRoute, tags=["audit"])


class FigureView(BaseModel):
    """A figure; `value` is null if unknown, with the `reason`; `more` has its parts."""

    title: str = Field(examples=["Time from fault to action"])
    value: float | None = Field(examples=[12.5])
    unit: str = Field(examples=["s"])
    definition: str
    reason: str | None
    more: dict[str, Any]


class Report(BaseModel):
    """People's decisions carry the number and hash of their audit record."""

    period: dict[str, str]
    figures: dict[str, FigureView]
    incidents: dict[str, Any]
    agreement: list[dict[str, Any]] = Field(
        description="by playbook and service: incidents by answer, and the share that was right"
    )
    lift: list[dict[str, Any]] = Field(
        description="what acting brings against waiting, by playbook, where hold-outs tell of it"
    )
    habits: list[dict[str, Any]] = Field(
        description="what people do by hand without a playbook, each with a draft of one"
    )
    actions: list[dict[str, Any]]
    approvals: list[dict[str, Any]]
    refusals: dict[str, int]
    rollbacks: list[dict[str, Any]]
    overrides: list[dict[str, Any]]
    audit: dict[str, Any]
    reconciliation: dict[str, Any] | None
    reconciliation_reason: str | None


_DAYS_30_S = 30 * DAY_S

_REPORT = answers(Report, "The report.")


@router.get("", openapi_extra=require_role(Role.VIEWER, everything=True), responses=_REPORT)
def show_report(
    request: Request,
    *,
    since: AwareDatetime | None = None,
    manual_minutes: Annotated[float | None, Query(gt=0, le=1e6, allow_inf_nan=False)] = None,
    price: Annotated[float | None, Query(ge=0, le=1e6, allow_inf_nan=False)] = None,
) -> dict[str, Any]:
    """The period since `since`, or the last 30 days. A figure that is unknown is null."""
    parts = parts_of(request)
    now = parts.clock()
    begin = min(now, since.timestamp()) if since else now - _DAYS_30_S
    available = availability(partial(query_number, parts.prometheus, now), now - begin)
    verification, why = _verify(parts)
    with parts.database.read() as connection:
        inputs = ReportInput(
            since=begin,
            until=now,
            manual_minutes=manual_minutes,
            price=price,
            availability=available,
            verification=verification,
            why_unverified=why,
        )
        return make_report(connection, inputs)


def _verify(parts: Parts) -> tuple[Verification | None, str]:
    try:
        return parts.head_signer.verify(), ""
    except (ArchiveError, KeyFileError) as error:
        _log.error("audit_heads_read_failed", reason=str(error))
        return None, HEADS_UNREADABLE
