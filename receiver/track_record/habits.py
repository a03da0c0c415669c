"""What people do by hand again and again about an alert that no playbook matches."""

import io
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ruamel.yaml import YAML
from sqlalchemy import Connection, select

from actions.reasons import Reason
from receiver.db.tables import comparisons, run_search, runs
from receiver.runtime.rfc3339 import DAY_S
from receiver.track_record.comparison import Agreement

# From this number of days on it is a habit: several runs of a day may be one fault.
_DAYS_LEAST = 3
# Params without which the action is refused, for a person to fill in.
_PARAMS = {"restart_service": {"service": "NAME"}, "set_desired_capacity": {"desired": "+1"}}


@dataclass(frozen=True, kw_only=True)
class Habit:
    """An action of people on an alert, on `days` different days; `draft` is a playbook's YAML."""

    alertname: str
    action: str
    days: int
    targets: int
    draft: str


def habits(connection: Connection, since: float) -> Sequence[Habit]:
    """The habits since then (epoch seconds), the most frequent first."""
    query = (
        select(run_search.c.alertname, comparisons.c.action, runs.c.received_at, runs.c.target)
        .join(runs, runs.c.id == comparisons.c.run_id)
        .join(run_search, run_search.c.run_id == runs.c.id)
        .where(
            runs.c.received_at >= since,
            runs.c.refusal == Reason.NO_PLAYBOOK,
            comparisons.c.agreement == Agreement.MISSED,
        )
    )
    found: defaultdict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for row in connection.execute(query):
        found[row.alertname, row.action].append((int(row.received_at // DAY_S), row.target))
    listed = [_habit(*key, times) for key, times in found.items()]
    by_frequency = sorted(listed, key=lambda habit: (-habit.days, habit.alertname))
    return [habit for habit in by_frequency if habit.days >= _DAYS_LEAST]


def _habit(alertname: str, action: str, times: Sequence[tuple[int, str]]) -> Habit:
    days = len({day for day, _ in times})
    return Habit(
        alertname=alertname,
        action=action,
        days=days,
        targets=len({target for _, target in times}),
        draft=draft(alertname, action, days),
    )


def draft(alertname: str, action: str, days: int) -> str:
    """A playbook that only observes, for a person to complete."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+", "-", alertname).strip("-").lower()
    name = words if re.match(r"[a-z]", words) else f"alert-{words}"
    step: dict[str, object] = {"action": action}
    if action in _PARAMS:
        step["params"] = _PARAMS[action]
    playbook = {
        "name": name[:63].rstrip("-"),
        "description": f"People did this by hand on {days} days.",
        "match": [f'alertname="{_quoted(alertname)}"'],
        "mode": "observe",
        "steps": [step],
    }
    text = io.StringIO()
    YAML().dump(playbook, text)
    return text.getvalue()


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
