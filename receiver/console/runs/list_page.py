"""The list of runs: one search box, filters that are the address, and orders for many at once."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, HTTPException, Request, Response

from actions.reasons import Reason
from receiver.api import run_schema, runs
from receiver.api.params import Comment
from receiver.api.parts import parts_of, require_known, require_on_run
from receiver.console.home.overview import overview_of
from receiver.console.matchers import equal_matchers
from receiver.console.runs.grouping import common_labels, group_runs
from receiver.console.runs.run_actions import RunAction
from receiver.console.session_route import ConsoleRoute
from receiver.console.templating import render_page
from receiver.console.time_range import SPANS_H, parse_range
from receiver.http.access.auth import caller, caller_of, require_role
from receiver.http.access.callers import Role
from receiver.runs.model import State
from receiver.workflow.approvals import Answer, NoSuchRunError, NotAllowedError, NotNowError

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
_PAGE = 50
# Those of a storm that the list can show at once.
_UNHANDLED_MOST = 5000
_TEXTS = ("q", "target", "group", "alertname", "severity", "playbook", "account", "region")
_FILTERS = (*_TEXTS, "state", "refusal", "since", "from", "to", "unhandled", "cursor")
_MANY = (RunAction.ACKNOWLEDGE, RunAction.APPROVE, RunAction.DENY)


@router.get("/runs", openapi_extra=require_role(Role.VIEWER))
def show_runs(request: Request) -> Response:
    return _render(request)


def _render(request: Request, done: Sequence[str] = (), status: int = HTTPStatus.OK) -> Response:
    filters = {key: request.query_params.get(key, "")[:255].strip() for key in _FILTERS}
    require_known(request, filters["account"], filters["region"])
    parts = parts_of(request)
    query = run_schema.RunQuery(limit=_PAGE, **_parse_filters(filters))
    page = runs.find_runs(request, query, among=_among(request, filters))
    asked = {key: value for key, value in filters.items() if value and key != "cursor"}
    held = common_labels(page["items"])
    return render_page(
        request,
        "runs.html",
        status,
        groups=group_runs(page["items"]),
        cursor=page["next_cursor"],
        filters=filters,
        asked=urlencode(asked),
        folded=any(asked.get(key) for key in _FILTERS[1:] if key not in {"state", "since"}),
        states=list(State),
        refusals=list(Reason),
        spans=list(SPANS_H),
        playbooks=sorted(playbook.name for playbook in parts.playbooks.items),
        matchers=equal_matchers(held),
        done=done,
    )


@router.post("/runs/many", openapi_extra=require_role(Role.OPERATOR))
def order_many(request: Request) -> Response:
    """Acknowledge, approve or deny each chosen run; the page says what became of each."""
    fields: dict[str, str] = request.state.form
    comment = Comment(comment=fields.get("comment", "")).comment
    names = [name.removeprefix("run-") for name in fields if name.startswith("run-")]
    chosen = [name for name in names if name.isalnum()]
    if not chosen:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "No run is chosen.")
    action = fields.get("action", "")
    if action not in _MANY:
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "Unknown action.")
    done = [
        f"{run_id[-6:]}: {_order(request, action, run_id, fields[f'run-{run_id}'], comment)}"
        for run_id in chosen
    ]
    overview_of(request).forget()
    return _render(request, done)


def _order(request: Request, action: str, run_id: str, digest: str, comment: str) -> str:
    """What became of the order; `digest` is of the plan that the page showed."""
    commands, person = parts_of(request).commands, caller_of(request).person
    of_plan: Mapping[str, Callable[..., Answer]] = {
        RunAction.ACKNOWLEDGE: commands.acknowledge,
        RunAction.APPROVE: partial(commands.approve, plan=digest, person=person),
        RunAction.DENY: partial(commands.deny, plan=digest),
    }
    try:
        require_on_run(request, run_id, Role.OPERATOR)
        return of_plan[action](run_id, caller(request), comment).text
    except NoSuchRunError:
        return "there is no such run"
    except HTTPException as error:
        return error.detail
    except (NotAllowedError, NotNowError) as error:
        return str(error)


def _parse_filters(filters: Mapping[str, str]) -> dict[str, Any]:
    parsed: dict[str, Any] = {
        key: filters[key] for key in _TEXTS if filters[key] and filters[key].isprintable()
    }
    for name, kind in (("state", State), ("refusal", Reason)):
        if value := filters[name]:
            if value not in set(kind):
                raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"Unknown {name}.")
            parsed[name] = kind(value)
    parsed["since"], parsed["until"] = parse_range(filters)
    if filters["cursor"].isprintable() and filters["cursor"]:
        parsed["cursor"] = filters["cursor"]
    return parsed


def _among(request: Request, filters: Mapping[str, str]) -> Sequence[str] | None:
    """The runs of alerts that fire unhandled, where only those are asked for."""
    if not filters["unhandled"]:
        return None
    return overview_of(request).unremedied_runs()[-_UNHANDLED_MOST:]
