"""The page of an Auto Scaling group: members, health, holds, budget, and its runs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Request, Response

from actions.aws.groups import GROUP_NAME, Group, Member
from actions.execution import claims, disruption_budget
from actions.execution.records import Bounds, Claim
from actions.place import Place
from receiver.api import overrides, run_schema, runs
from receiver.api.parts import Parts, parts_of
from receiver.console.home import week
from receiver.console.home.overview import overview_of
from receiver.console.home.recent import Recent
from receiver.console.matchers import equal_matchers
from receiver.console.session_route import ConsoleRoute
from receiver.console.templating import render_page
from receiver.evidence.aws.reads import AwsAnswer
from receiver.http.access.auth import caller_of, require_on, require_role
from receiver.http.access.callers import Role, Subject
from receiver.runs.queries import stats
from receiver.runtime.cache import BoundedCache
from receiver.runtime.rfc3339 import rfc3339

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)
_RUNS, _DAYS = 20, 30
_AWS_LASTS_S = 10.0
_Name = Annotated[str, Path(max_length=255)]


class GroupReads(BoundedCache[tuple[Place, str], Recent[AwsAnswer[Group]]]):
    """What AWS said of groups, for all browsers."""

    def read(self, parts: Parts, place: Place, name: str) -> AwsAnswer[Group]:
        recent = self.get((place, name))
        if recent is None:
            recent = self[place, name] = Recent(lasts_s=_AWS_LASTS_S)
        return recent.read(lambda: parts.aws_readers.at(place).group(name))


@router.get("/groups/{name:path}", openapi_extra=require_role(Role.VIEWER))
def show_group(request: Request, name: _Name) -> Response:
    if not GROUP_NAME.fullmatch(name):
        raise HTTPException(404, "There is no such page.")
    parts, now = parts_of(request), parts_of(request).clock()
    places = _seen_places(request, parts, name)
    reads: GroupReads = request.app.state.group_reads
    answers = {place: reads.read(parts, place, name) for place in places}
    found = {place: answer.value for place, answer in answers.items() if answer.value}
    with parts.database.read() as connection:
        days = stats.count_by_day(connection, now, _DAYS, group=name)
        claimed = {claim.target: claim for claim in claims.list_active(connection, now)}
        reserved = {
            place: disruption_budget.reserved_by_others(connection, place, "") for place in found
        }
    unremedied = overview_of(request).unremedied()
    listed = runs.list_runs(request, run_schema.RunQuery(group=name, limit=_RUNS))["items"]
    firing = {run["target"] for run in listed if not run["ended_at"]}
    return render_page(
        request,
        "group.html",
        name=name,
        places=[
            _place_view(place, group, reserved[place], claimed, firing)
            for place, group in found.items()
        ],
        problems=[answer.error for answer in answers.values() if answer.error],
        holds=list(_holds(request, name)),
        unhandled=sum(alerts.count for alerts in unremedied if alerts.group == name),
        plots=week.multiples(days, group=name, since="30d"),
        days=_DAYS,
        runs=listed,
        matchers=equal_matchers({"asg": name}),
    )


def _seen_places(request: Request, parts: Parts, name: str) -> Sequence[Place]:
    """Where the caller may see the group. Raises HTTPException where that is nowhere."""
    subjects = {place: Subject(account=place.account, service=name) for place in parts.places}
    who = caller_of(request)
    seen = [place for place, subject in subjects.items() if who.may_on(Role.VIEWER, subject)]
    if not seen:
        require_on(request, Role.VIEWER, *subjects.values())
    return seen


def _place_view(
    place: Place,
    group: Group,
    reserved: Mapping[str, frozenset[str]],
    claimed: Mapping[str, Claim],
    firing: set[str],
) -> dict[str, Any]:
    scopes = {
        scope.name: scope
        for member in group.members
        for scope in disruption_budget.scopes_of(member, group, Bounds(), {})
    }
    budget = [
        {
            "name": scope.name,
            "members": len(scope.members),
            "out": len(scope.out | reserved.get(scope.name, frozenset())),
            "limit": scope.limit,
            "floor": scope.floor,
        }
        for scope in scopes.values()
    ]
    members = sorted(group.members.values(), key=lambda member: (member.serves, member.id))
    return {
        "place": str(place) if place.account else "",
        "desired": group.desired,
        "minimum": group.minimum,
        "maximum": group.maximum,
        "suspended": sorted(group.suspended),
        "serving": len(group.in_service),
        "budget": budget,
        "members": [_member_view(member, claimed, firing) for member in members],
    }


def _member_view(member: Member, claimed: Mapping[str, Claim], firing: set[str]) -> dict[str, Any]:
    claim = claimed.get(member.id)
    return {
        "id": member.id,
        "az": member.az,
        "lifecycle": member.lifecycle,
        "healthy": member.healthy,
        "serves": member.serves,
        "version": member.version,
        "in_flight": member.id in firing,
        "claim": claim and {"held": claim.held, "until": rfc3339(claim.cooldown_until)},
        "run": claim and claim.run_id,
    }


def _holds(request: Request, name: str) -> Iterator[dict[str, Any]]:
    """The overrides that name the group."""
    for override in overrides.list_overrides(request)["items"]:
        named = {matcher["value"] for matcher in override["matchers"] if matcher["name"] == "asg"}
        if name in named:
            yield override
