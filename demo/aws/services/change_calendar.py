"""Change calendars of Systems Manager: open or closed, by their default and their events.

https://docs.aws.amazon.com/systems-manager/latest/userguide/systems-manager-change-calendar.html
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from demo.aws.core import Core, moment
from demo.aws.world import AwsError, ChangeCalendar


@dataclass
class ChangeCalendars:
    core: Core

    def get_calendar_state(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Open only if all calendars are. Names are those of documents, or their ARNs."""
        told = request.get("AtTime")
        at = datetime.fromisoformat(told).timestamp() if told else self.core.now
        calendars = [self._calendar(name) for name in request["CalendarNames"]]
        now_open = _open(calendars, at)
        edges = {edge for one in calendars for event in one.events for edge in event}
        turns = [edge for edge in sorted(edges) if edge > at and _open(calendars, edge) != now_open]
        following = {"NextTransitionTime": _iso(turns[0])} if turns else {}
        return {"State": "OPEN" if now_open else "CLOSED", "AtTime": _iso(at), **following}

    def _calendar(self, name: str) -> ChangeCalendar:
        short = name.rpartition(":document/")[2]
        if short not in self.core.world.calendars:
            raise AwsError("InvalidDocument", f"Document with name {short} does not exist.")
        return self.core.world.calendars[short]


def _iso(epoch: float) -> str:
    """These times are strings in the API."""
    return f"{moment(epoch):%Y-%m-%dT%H:%M:%SZ}"


def _open(calendars: list[ChangeCalendar], at: float) -> bool:
    return all(
        one.default_open != any(begins <= at < ends for begins, ends in one.events)
        for one in calendars
    )
