"""What people see of each incident, compared with how its run stands."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from bench.incidents.world import World
from receiver.db.database import Database
from receiver.db.tables import incident_posts
from receiver.incidents import records
from receiver.incidents.records import Incident

_PAGES = {"Over": {None, "resolve"}}
_NEEDS_PERSON = frozenset({"Approval needed", "A person is needed"})


@dataclass(frozen=True, kw_only=True)
class Shown:
    """`wrong`: channels that show another state; `lost`: details that nobody sees."""

    incidents: int
    wrong: Sequence[str]
    lost: int
    extra: int
    unsettled: int


def read_shown(state: Database, world: World, titles: Mapping[str, str]) -> Shown:
    """`titles` are how messages of each alert name should begin in the end."""
    with state.read() as connection:
        found = records.recent(connection, 0.0)
        lines = {each.id: records.lines_of(connection, each.id) for each in found}
        unsure = incident_posts.c.unsure | incident_posts.c.settle_at.is_not(None)
        unsettled = len(connection.execute(select(incident_posts.c.channel).where(unsure)).all())
    wrong = [fault for each in found for fault in _wrong(world, each, titles[each.alertname])]
    missing = [name for name in titles if name not in {each.alertname for each in found}]
    lost = extra = 0
    for each in found:
        wanted = [line.text for line in lines[each.id]]
        messages = _messages(world, each)
        thread = [text for ts in messages for text in world.threads.get(ts, ())]
        tickets = _tickets(world, each)
        comments = [text for ticket in tickets for text in ticket["comments"]]
        lost += sum(not any(text.endswith(line) for text in thread) for line in wanted)
        extra += max(0, len(messages) - 1) + max(0, len(thread) - len(wanted))
        if tickets:
            lost += sum(line not in comments for line in wanted)
            extra += len(tickets) - 1 + max(0, len(comments) - len(wanted))
    return Shown(
        incidents=len(found),
        wrong=[*wrong, *(f"no incident of {name}" for name in missing)],
        lost=lost,
        extra=extra,
        unsettled=unsettled,
    )


def _wrong(world: World, incident: Incident, title: str) -> Iterator[str]:
    name = f"{incident.alertname}: {title}"
    if not any(text.startswith(f"*{title}: ") for text in _messages(world, incident).values()):
        yield f"slack, {name}"
    page = world.pages.get(f"smartcloudops-{incident.id}")
    if page not in _PAGES.get(title, {"trigger"}):
        yield f"pagerduty, {name}"
    tickets = _tickets(world, incident)
    right = "Done" if title == "Over" else "To Do"
    if not any(ticket["status"] == right for ticket in tickets) and (
        tickets or title in _NEEDS_PERSON
    ):
        yield f"jira, {name}"
    events = [event for event in world.events if event["subject"] == incident.id]
    newest = max(events, key=lambda event: str(event["time"]), default=None)
    if newest is None or not newest["data"]["title"].startswith(f"{title}: "):
        yield f"cloudevents, {name}"


def _messages(world: World, incident: Incident) -> Mapping[str, str]:
    """The texts of its messages, by their time."""
    named = f": {incident.alertname} on "
    texts = {ts: str(m["blocks"][0]["text"]["text"]) for ts, m in world.messages.items()}
    return {ts: text for ts, text in texts.items() if named in text.partition("\n")[0]}


def _tickets(world: World, incident: Incident) -> Sequence[dict[str, Any]]:
    return [ticket for ticket in world.tickets.values() if incident.id in ticket["labels"][0]]
