"""How decisions compare with what people did, and what people do without a playbook."""

from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection

from receiver.track_record.habits import habits
from receiver.track_record.incidents import Answer, Judged, Share, agreed
from receiver.track_record.judged_runs import judged_runs
from receiver.track_record.lift import lift, read_outcomes

# A report counts all that people say; arming caps what one person says.
_ALL = 1 << 30


def agreement(
    connection: Connection, since: float, playbook: str | None = None
) -> list[dict[str, Any]]:
    """A row for each playbook and service: incidents by answer, and the share that was right."""
    by_key: dict[tuple[str, str], list[Judged]] = {}
    for run in judged_runs(connection, since=since, playbook=playbook):
        by_key.setdefault((run.playbook, run.service), []).append(run)
    rows = []
    for (name, service), runs in sorted(by_key.items()):
        counted = agreed(runs, vouched_max=_ALL)
        if counted.answers:
            answers = {str(answer): counted.answers.get(answer, 0) for answer in Answer}
            row = {"playbook": name, "service": service, "answers": answers}
            rows.append(row | share_json(counted.share))
    return rows


def share_json(share: Share) -> dict[str, Any]:
    """The share with its 95 % interval; null without an incident."""
    told = share.incidents > 0
    return {
        "right": share.right,
        "incidents": share.incidents,
        "share": share.right / share.incidents if told else None,
        "low": share.low if told else None,
        "high": share.high if told else None,
    }


def lifts(
    connection: Connection, since: float, until: float, playbook: str | None = None
) -> list[dict[str, Any]]:
    """What acting brings, by playbook, where hold-outs tell of any incident."""
    outcomes = read_outcomes(connection, since=since, now=until, playbook=playbook)
    found = ((name, lift(known)) for name, known in sorted(outcomes.items()))
    return [{"playbook": name, **each.stored()} for name, each in found if each]


def unwritten(connection: Connection, since: float) -> list[dict[str, Any]]:
    """What people do by hand again and again without a playbook, with drafts."""
    return [asdict(habit) for habit in habits(connection, since)]
