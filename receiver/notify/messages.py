"""What people are told of as it happens, in words.

Nothing of an alert's own text gets in: who sends alerts could otherwise speak in our name.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from actions.base import Impact, Outcome
from actions.catalog.registry import CATALOG
from receiver.audit.tail import Record
from receiver.runs.model import Run
from receiver.runtime.redaction import plain

EVENTS: Collection[str] = (
    "run_awaiting_approval",
    "step_observed",
    "run_failed",
    "run_rolled_back",
    "paused",
    "resumed",
    "playbook_armed",
    "playbook_disarmed",
)


class Kind(StrEnum):
    """A tag of the notification file by the same name asks for these alone, `events` for all."""

    APPROVAL_NEEDED = "approval_needed"
    ACTED = "acted"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    ESCALATED = "escalated"
    PAUSED = "paused"
    ARMING = "arming"


@dataclass(frozen=True, kw_only=True)
class Notice:
    """`same_as`: of several with the same, within a short time, only the first is told."""

    kind: Kind
    title: str
    text: str
    same_as: tuple[str, ...]


def notice(record: Record, run: Run | None, public_url: str | None) -> Notice | None:
    """What people are told about a record, None where it is nothing to them."""
    kind = _kind(record)
    if kind is None:
        return None
    if kind in {Kind.PAUSED, Kind.ARMING}:
        return Notice(
            kind=kind,
            title=f"{_switched(record)} by {plain(record.actor)}",
            text=plain(record.detail.get("comment", "")),
            same_as=(kind, str(record.seq)),
        )
    target = _target(record, run)
    playbook = run.playbook if run and run.playbook else "no playbook"
    lines = [_said(kind, record), f"Playbook {playbook}, run {record.run_id}"]
    if public_url is not None:
        lines.append(f"{public_url.rstrip('/')}/runs/{record.run_id}")
    once = kind is Kind.APPROVAL_NEEDED
    group = (run.group_name if run else None) or target
    return Notice(
        kind=kind,
        title=f"{_TITLES[kind]}: {target}",
        text="\n".join(line for line in lines if line),
        same_as=(kind, record.run_id or "") if once else (kind, playbook, group),
    )


_TITLES = {
    Kind.APPROVAL_NEEDED: "Approval needed",
    Kind.ACTED: "Acted",
    Kind.FAILED: "Failed",
    Kind.ROLLED_BACK: "Rolled back",
    Kind.ESCALATED: "Escalated",
}
_OF_RUNS = {
    "run_awaiting_approval": Kind.APPROVAL_NEEDED,
    "run_failed": Kind.FAILED,
    "run_rolled_back": Kind.ROLLED_BACK,
    "paused": Kind.PAUSED,
    "resumed": Kind.PAUSED,
    "playbook_armed": Kind.ARMING,
    "playbook_disarmed": Kind.ARMING,
}


def _switched(record: Record) -> str:
    detail = record.detail
    where = f" for {plain(detail['service'])}" if detail.get("service") else ""
    match record.event:
        case "playbook_disarmed":
            return f"Playbook {detail['playbook']} is disarmed{where}"
        case "playbook_armed":
            return f"Playbook {detail['playbook']} is armed to {detail['mode']}{where}"
        case _:
            return f"SmartCloudOps is {record.event}"


def _kind(record: Record) -> Kind | None:
    if record.event != "step_observed":
        return _OF_RUNS.get(record.event)
    if record.detail.get("undoes") is not None:
        return None
    if CATALOG[record.detail["action"]].impact is Impact.HARMLESS:
        return Kind.ESCALATED
    done = record.detail.get("outcome") in {Outcome.CHANGED, Outcome.UNKNOWN}
    return Kind.ACTED if done else None


def _target(record: Record, run: Run | None) -> str:
    plan = record.detail.get("plan") or {}
    return str(record.detail.get("target") or plan.get("target") or (run and run.target) or "?")


def _said(kind: Kind, record: Record) -> str:
    detail = record.detail
    if kind is Kind.APPROVAL_NEEDED:
        return f"{(detail.get('plan') or {}).get('action', 'a step')} waits for a person"
    if record.event == "step_observed":
        return f"{detail['action']}: {detail.get('outcome')}"
    return plain(str(detail.get("outcome") or ""))
