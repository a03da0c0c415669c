"""The playbooks, the outcomes of their runs, their arming, and manual runs."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import RedirectResponse
from markupsafe import Markup
from pydantic import ValidationError

from receiver.api import arming, run_schema, runs
from receiver.api.params import PlaybookName
from receiver.api.parts import parts_of
from receiver.console.session_route import ConsoleRoute
from receiver.console.templating import render_page
from receiver.html.bar_plot import Share, small_bars, strip
from receiver.http.access.auth import caller_of, require_role
from receiver.http.access.callers import Role
from receiver.playbook_testing.cases import TestFile
from receiver.playbooks.yaml_source import YamlError, read
from receiver.reports import agreement
from receiver.runs.model import State
from receiver.runs.queries import stats
from receiver.runs.queries.stats import Period
from receiver.runtime.rfc3339 import DAY_S
from receiver.track_record.judged_runs import COUNTED_S

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
_DAYS, _WEEKS = 30, 8


_RECOVERED = frozenset({State.SUCCEEDED})
_FAILED = frozenset({State.FAILED, State.ROLLED_BACK, State.EXPIRED})
_DID_NOT_ACT = frozenset({State.REFUSED, State.OBSERVED, State.CANCELLED})
_RESOLVED = frozenset({State.RESOLVED})


@router.get("/playbooks", openapi_extra=require_role(Role.VIEWER))
def show_playbooks(request: Request) -> Response:
    parts = parts_of(request)
    with parts.database.read() as connection:
        counts = stats.count_by_playbook(connection, parts.clock() - _DAYS * DAY_S)
    playbooks = [
        playbook | {"record": track_record(counts.get(playbook["name"], {}))}
        for playbook in arming.list_playbooks(request)["items"]
    ]
    return render_page(request, "playbooks.html", playbooks=playbooks, days=_DAYS)


@router.get("/playbooks/{name}", openapi_extra=require_role(Role.VIEWER))
def show_playbook(request: Request, name: PlaybookName) -> Response:
    parts, now = parts_of(request), parts_of(request).clock()
    loaded = next((each for each in parts.playbooks.items if each.name == name), None)
    if loaded is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, "No such playbook is loaded.")
    shown = next(
        (view for view in arming.list_playbooks(request)["items"] if view["name"] == name), None
    )
    if shown is None:
        raise HTTPException(HTTPStatus.FORBIDDEN, "Your role does not extend to this playbook.")
    with parts.database.read() as connection:
        counts = stats.count_by_playbook(connection, now - _DAYS * DAY_S)
        weeks = stats.count_by_week(connection, now, _WEEKS, name)
        answers = agreement.agreement(connection, now - COUNTED_S, name)
        lifts = agreement.lifts(connection, now - COUNTED_S, now, name)
    return render_page(
        request,
        "playbook.html",
        playbook=shown | {"record": track_record(counts.get(name, {}))},
        loaded=loaded,
        weeks=weekly(weeks),
        answers=answers,
        lift=lifts[0] if lifts else None,
        tests=read_tests(parts.settings.playbooks / "tests" / f"{name}.yaml"),
        days=_DAYS,
        target=request.query_params.get("target", "")[:255],
        may_arm=caller_of(request).may(Role.ADMIN),
    )


def weekly(weeks: Sequence[Period]) -> list[tuple[str, Markup]]:
    """How many runs recovered, and how many did not, in each week."""
    names = [f"week of {datetime.fromtimestamp(week.start, UTC):%d %b}" for week in weeks]
    kinds = (("recovered", "good", _RECOVERED), ("failed or rolled back", "bad", _FAILED))
    drawn = []
    for title, tone, states in kinds:
        counts = [
            sum(count for (state, _), count in week.counts.items() if state in states)
            for week in weeks
        ]
        plot = small_bars(dict(zip(names, counts, strict=True)), title, tone)
        drawn.append((f"{title}: {sum(counts)}", plot))
    return drawn


def read_tests(file: Path) -> list[tuple[str, str]]:
    """Name and expected decision of each test of a playbook; empty where none can be read."""
    try:
        cases = TestFile.model_validate(read(file)[0]).tests
    except (OSError, YamlError, ValidationError):
        return []
    return [
        (case.name, case.expect.refusal or case.expect.action or case.expect.decision)
        for case in cases
    ]


@router.post("/playbooks/{name}/run", openapi_extra=require_role(Role.OPERATOR))
def start_run(request: Request, name: str) -> Response:
    fields: dict[str, str] = request.state.form
    body = run_schema.Start(
        playbook=name,
        target=fields.get("target", "").strip(),
        comment=fields.get("comment", ""),
        dry_run=fields.get("how") != "act",
    )
    started = runs.start_run(request, Response(), body)
    return RedirectResponse(f"/runs/{started['id']}", HTTPStatus.SEE_OTHER)


@router.post("/playbooks/{name}/arm", openapi_extra=require_role(Role.ADMIN))
def arm(request: Request, name: PlaybookName) -> Response:
    fields: dict[str, str] = request.state.form
    scope = {key: fields.get(key) or None for key in ("service", "mode", "canary_percent")}
    force = "force" in fields
    body = arming.ArmBody.model_validate(scope | {"comment": _comment(fields), "force": force})
    arming.arm(request, name, body)
    return RedirectResponse(f"/playbooks/{name}", HTTPStatus.SEE_OTHER)


@router.post("/playbooks/{name}/disarm", openapi_extra=require_role(Role.ADMIN))
def disarm(request: Request, name: PlaybookName) -> Response:
    fields: dict[str, str] = request.state.form
    body = arming.DisarmBody(service=fields.get("service") or None, comment=_comment(fields))
    arming.disarm(request, name, body)
    return RedirectResponse(f"/playbooks/{name}", HTTPStatus.SEE_OTHER)


def _comment(fields: Mapping[str, str]) -> str:
    return fields.get("comment", "")


def track_record(counts: Mapping[str, int]) -> dict[str, Any]:
    """The number of runs by ending; `rate` is None where no run acted."""

    def share(text: str, tone: str, states: frozenset[State]) -> Share:
        return Share(text, tone, sum(counts.get(state, 0) for state in states))

    recovered = share("recovered", "good", _RECOVERED)
    failed = share("failed or rolled back", "bad", _FAILED)
    did_not_act = share("refused, observed or cancelled", "quiet", _DID_NOT_ACT)
    resolved = share("resolved on its own", "busy", _RESOLVED)
    shares = [recovered, failed, did_not_act, resolved]
    acted = recovered.count + failed.count
    return {
        "shares": [share for share in shares if share.count],
        "strip": strip(shares),
        "total": sum(share.count for share in shares),
        "rate": recovered.count / acted if acted else None,
    }
