"""Texts of notifications about audit records.

They contain no text of an alert, because its sender could write messages in our name.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from actions.base import Impact, Outcome
from actions.catalog.registry import find_action
from actions.catalog.ssm.capture import Capture
from receiver.audit.tail import Record
from receiver.runs.model import Run
from receiver.runs.question import question_of
from receiver.runtime.redaction import plain

EVENTS: Collection[str] = (
    "run_awaiting_approval",
    "step_observed",
    "run_failed",
    "run_rolled_back",
    "recovery_did_not_last",
    "debt_owed",
    "paused",
    "resumed",
    "playbook_armed",
    "playbook_demoted",
    "playbook_disarmed",
    "break_glass_used",
)


class MessageKind(StrEnum):
    """The kind of a message; it is also the recipients' tag that selects this kind."""

    APPROVAL_NEEDED = "approval_needed"
    ACTED = "acted"
    FAILED = "failed"
    ROLLED_BACK = "rolled_back"
    RELAPSED = "relapsed"
    ESCALATED = "escalated"
    UNHANDLED = "unhandled"
    PAUSED = "paused"
    ARMING = "arming"
    BREAK_GLASS = "break_glass"


@dataclass(frozen=True, kw_only=True)
class Message:
    """A message; of several with the same `same_as` in a short time, only the first is sent."""

    kind: MessageKind
    title: str
    text: str
    same_as: tuple[str, ...]


def make_message(record: Record, run: Run | None, public_url: str | None) -> Message | None:
    """The message about a record; None where the record needs none."""
    kind = kind_of(record)
    if kind is None:
        return None
    if kind in {MessageKind.PAUSED, MessageKind.ARMING, MessageKind.BREAK_GLASS}:
        return Message(
            kind=kind,
            title=f"{_switch_title(record)} by {plain(record.actor)}",
            text=_by_whom(record),
            same_as=(kind, str(record.seq)),
        )
    target, where = _target(record, run), _where(run)
    playbook = run.playbook if run and run.playbook else "no playbook"
    lines = [*_summary(kind, record, run), f"Playbook {playbook}, run {record.run_id}"]
    if public_url is not None:
        page = f"{public_url.rstrip('/')}/runs/{record.run_id}"
        lines += [page, f"Evidence: {page}#captures"] if _captures(run) else [page]
    one_per_run = kind is MessageKind.APPROVAL_NEEDED
    group = (run.group_name if run else None) or target
    return Message(
        kind=kind,
        title=f"{_TITLES[kind]}: {target}{where}",
        text="\n".join(line for line in lines if line),
        same_as=(kind, record.run_id or "") if one_per_run else (kind, playbook, group + where),
    )


def _by_whom(record: Record) -> str:
    """What the person said, or who used the token of another name, and from where."""
    detail = record.detail
    if record.event == "break_glass_used":
        address = (detail.get("origin") or {}).get("address", "an unknown address")
        return f"{plain(detail['person'])}, from {plain(address)}"
    return plain(detail.get("comment", ""))


_TITLES = {
    MessageKind.APPROVAL_NEEDED: "Approval needed",
    MessageKind.ACTED: "Acted",
    MessageKind.FAILED: "Failed",
    MessageKind.ROLLED_BACK: "Rolled back",
    MessageKind.RELAPSED: "Comes again",
    MessageKind.ESCALATED: "Escalated",
}
# Records that are told only where they have this detail: a plan that waits for people and not for
# the end of a pause, a relapse that is not the first, a debt that is not just tried again.
_TOLD_IF = {
    "run_awaiting_approval": "plan",
    "recovery_did_not_last": "tell",
    "debt_owed": "needs_person",
}
_KINDS = {
    "debt_owed": MessageKind.FAILED,
    "run_awaiting_approval": MessageKind.APPROVAL_NEEDED,
    "run_failed": MessageKind.FAILED,
    "run_rolled_back": MessageKind.ROLLED_BACK,
    "recovery_did_not_last": MessageKind.RELAPSED,
    "paused": MessageKind.PAUSED,
    "resumed": MessageKind.PAUSED,
    "playbook_armed": MessageKind.ARMING,
    "playbook_demoted": MessageKind.ARMING,
    "playbook_disarmed": MessageKind.ARMING,
    "break_glass_used": MessageKind.BREAK_GLASS,
}


def _switch_title(record: Record) -> str:
    detail = record.detail
    where = f" for {plain(detail['service'])}" if detail.get("service") else ""
    match record.event:
        case "break_glass_used":
            return "A break-glass token is used"
        case "playbook_disarmed":
            return f"Playbook {detail['playbook']} is disarmed{where}"
        case "playbook_demoted":
            return f"Playbook {detail['playbook']} falls to {detail['mode']}{where}"
        case "playbook_armed":
            return f"Playbook {detail['playbook']} is armed to {detail['mode']}{where}"
        case _:
            place = [detail[name] for name in ("account", "region") if detail.get(name)]
            return " in ".join(
                [f"SmartCloudOps is {record.event}", *filter(None, ["/".join(place)])]
            )


def _captures(run: Run | None) -> bool:
    """Whether evidence is captured before the run's step."""
    before = run.plan.before if run and run.plan and run.steps_begun else ()
    return any(step.action == Capture.name for step in before)


def _is_told(record: Record) -> bool:
    required = _TOLD_IF.get(record.event)
    return required is None or bool(record.detail.get(required))


def kind_of(record: Record) -> MessageKind | None:
    """The kind of the message about a record; None where the record needs none."""
    if not _is_told(record):
        return None
    if record.event != "step_observed":
        return _KINDS.get(record.event)
    if record.detail.get("undoes") is not None or record.detail["action"] == Capture.name:
        return None
    if find_action(record.detail["action"]).impact is Impact.HARMLESS:
        return MessageKind.ESCALATED
    acted = record.detail.get("outcome") in {Outcome.CHANGED, Outcome.UNKNOWN}
    return MessageKind.ACTED if acted else None


def _where(run: Run | None) -> str:
    """The account and region, where there are several: a name is unique in one only."""
    return f" of {run.account}/{run.region}" if run and run.account else ""


def _target(record: Record, run: Run | None) -> str:
    plan = record.detail.get("plan") or {}
    return str(record.detail.get("target") or plan.get("target") or (run and run.target) or "?")


def _summary(kind: MessageKind, record: Record, run: Run | None) -> Iterator[str]:
    detail = record.detail
    if kind is MessageKind.APPROVAL_NEEDED:
        asked = question_of(run) if run else None
        yield asked or f"{(detail.get('plan') or {}).get('action', 'a step')} needs approval"
        if run is not None and run.next_act_at is not None:
            yield f"Answer until {datetime.fromtimestamp(run.next_act_at, UTC):%H:%M} UTC"
        return
    yield _what_happened(kind, record)


def _what_happened(kind: MessageKind, record: Record) -> str:
    detail = record.detail
    if kind is MessageKind.RELAPSED:
        since = datetime.fromtimestamp(detail["since"], UTC)
        actions, minutes = ", ".join(detail["actions"]), max(1, round(detail["helped_s"] / 60))
        return (
            f"{actions} helped {detail['times']} times since {since:%A, %d %B}, each time for "
            f"about {minutes} minutes. Look for the cause."
        )
    if record.event == "step_observed":
        return f"{detail['action']}: {detail.get('outcome')}"
    if record.event == "debt_owed":
        return f"{detail['action']} is not given back: {plain(str(detail.get('problem')))}"
    return plain(str(detail.get("outcome") or ""))
