"""What runs have lent, and not given back yet."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from actions.execution import debts
from actions.execution.debts import Debt, DebtState
from receiver.api.params import AccountField, Cursor, Id, Limit, Page, RegionField, Time
from receiver.api.parts import may_see_runs, parts_of
from receiver.http.access.auth import GuardedRoute, require_role
from receiver.http.access.callers import Role
from receiver.http.openapi import answers
from receiver.runtime.rfc3339 import rfc3339

router = APIRouter(prefix="/api/v1", route_class=GuardedRoute, tags=["control"])


class DebtView(BaseModel):
    """`action` of the run changed `target` at `since`; the run ended at `ended_at`."""

    id: str = Field(examples=["01KAR0SZ1PCQSD8SGKXR6D7C9P/100"])
    run: Id
    action: str = Field(examples=["suspend_processes"])
    target: str = Field(examples=["web-asg"])
    account: AccountField
    region: RegionField
    since: Time
    state: DebtState = Field(description="lent until the run ends; then due until AWS shows it")
    ended_at: Time | None
    attempts: int
    problem: str | None = Field(description="why the last attempt did not give it back")


class DebtPage(Page):
    items: list[DebtView]


_DEBTS = answers(DebtPage, "A page of debts, oldest first.")


@router.get("/debts", openapi_extra=require_role(Role.VIEWER), responses=_DEBTS)
def list_debts(
    request: Request, *, limit: Limit = 1000, cursor: Cursor | None = None
) -> dict[str, Any]:
    """What runs have lent or must roll back, until AWS shows that it is given back."""
    with parts_of(request).database.read() as connection:
        owed = debts.list_open(connection)
        shown = may_see_runs(request, connection, {debt.run_id for debt in owed})
    views = [_view(debt) for debt in owed if debt.run_id in shown]
    names = [view["id"] for view in views]
    first = names.index(cursor) + 1 if cursor in names else 0
    items = views[first : first + limit]
    more = len(views) > first + limit
    return {"items": items, "next_cursor": items[-1]["id"] if more else None}


def _view(debt: Debt) -> dict[str, Any]:
    return {
        "id": debt.step.token(debt.run_id),
        "run": debt.run_id,
        "action": debt.action,
        "target": debt.target,
        "account": debt.account or None,
        "region": debt.region or None,
        "since": rfc3339(debt.since),
        "state": str(debt.state),
        "ended_at": None if debt.ended_at is None else rfc3339(debt.ended_at),
        "attempts": debt.attempts,
        "problem": debt.problem,
    }
