"""The ledger against the calls that AWS saw: whatever is in only one of the two is a finding."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from actions.assurance.cloudtrail import DELIVERY_DELAY_S, ApiCall
from actions.assurance.iam_policy import is_read
from actions.base import Outcome
from actions.catalog.registry import CATALOG
from actions.execution.ledger import Intent

# Between the clock here and the one that the calls are dated with.
TOLERANCE_S = 120.0
# A file's own time is that of the last tick before it was written.
_WRITTEN_S = 0.1
# A data event, which LookupEvents does not know.
# https://docs.aws.amazon.com/sns/latest/dg/logging-using-cloudtrail.html
_UNSEEN = frozenset({"Publish"})


class FindingKind(StrEnum):
    CALL_WITHOUT_ENTRY = "call_without_entry"
    ENTRY_WITHOUT_CALL = "entry_without_call"
    REPEATED_CALL = "repeated_call"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """`what` is the operation of a call, or the action of an entry; `at` epoch seconds."""

    kind: FindingKind
    at: float
    what: str
    run_id: str
    step: int | None
    names: Sequence[str]
    who: str | None


@dataclass(frozen=True, kw_only=True)
class Reconciliation:
    """`pending` entries are so young that their calls may not be known yet."""

    calls: int
    entries: int
    pending: int
    findings: Sequence[Finding]


def write_operations(action: str) -> frozenset[str]:
    """The operations by which an action changes something."""
    found = (one for one in CATALOG[action].permissions if not is_read(one))
    return frozenset(one.partition(":")[2] for one in found)


def select_own(seen: Iterable[ApiCall], roles: Collection[str]) -> Iterator[ApiCall]:
    """Calls that name a run, or were made by one of the roles, or of which no maker is known.

    Without roles, whoever has made a call that names a run.
    """
    found = [one for one in seen if one.operation in _WRITES]
    mine = set(roles) or {one.who for one in found if one.run_id and one.who}
    return (one for one in found if one.run_id or one.who is None or one.who in mine)


def reconcile(
    entries: Sequence[Intent], seen: Iterable[ApiCall], *, since: float, until: float, late: bool
) -> Reconciliation:
    """`seen` are our calls from `since` to `until`; entries may be older, for those at the edge.

    `late`: calls of the last quarter of an hour before `until` may be missing.
    """
    sent = [
        one for one in entries if one.dispatched_at is not None and write_operations(one.action)
    ]
    calls = [one for one in seen if one.at >= since]
    findings, made = [], Counter[tuple[str, int]]()
    times = Counter[tuple[str, int, str, frozenset[str]]]()
    for call in sorted(calls, key=lambda one: one.at):
        entry = _entry(call, sent)
        if entry is None:
            findings.append(_of_call(FindingKind.CALL_WITHOUT_ENTRY, call, None))
            continue
        key = (entry.run_id, entry.step)
        made[key] += not call.refused
        times[*key, call.operation, call.names] += 1
        again = times[*key, call.operation, call.names] > 1
        if again and not CATALOG[entry.action].idempotent:
            findings.append(_of_call(FindingKind.REPEATED_CALL, call, entry))
    lost = [one for one in sent if _lost(one, made, since=since, late=late)]
    known = until - DELIVERY_DELAY_S - TOLERANCE_S if late else until + _WRITTEN_S
    findings += [_of_entry(one) for one in lost if (one.ended_at or known) <= known]
    return Reconciliation(
        calls=len(calls),
        entries=sum(1 for one in sent if (one.dispatched_at or 0.0) >= since),
        pending=sum(1 for one in lost if (one.ended_at or known) > known),
        findings=sorted(findings, key=lambda one: one.at),
    )


def _entry(call: ApiCall, sent: Iterable[Intent]) -> Intent | None:
    """Of the steps that may have made this call the nearest in time."""
    fitting = (one for one in sent if _fits(call, one))
    return min(fitting, key=lambda one: abs(call.at - (one.dispatched_at or 0.0)), default=None)


def _fits(call: ApiCall, entry: Intent) -> bool:
    """Whether the step made this call: same run, operation and target, while it was under way."""
    begun = (entry.dispatched_at or 0.0) - TOLERANCE_S
    ended = float("inf") if entry.ended_at is None else entry.ended_at + TOLERANCE_S
    return (
        call.run_id == entry.run_id
        and call.operation in write_operations(entry.action)
        and begun <= call.at <= ended
        and not call.names.isdisjoint(_named(entry))
    )


def _named(entry: Intent) -> set[str]:
    """The target, and whatever else the step knows by its name."""
    token = f"{entry.run_id}/{entry.step}"
    return {entry.target, token, *_texts([entry.params, entry.before, entry.made])}


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield str(key)
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str):
        yield value


def _lost(entry: Intent, made: Mapping[tuple[str, int], int], *, since: float, late: bool) -> bool:
    """Whether it says that something was changed, and no call did."""
    unseen = late and write_operations(entry.action) <= _UNSEEN
    known = (entry.dispatched_at or 0.0) - TOLERANCE_S >= since
    changed = entry.outcome is Outcome.CHANGED
    return changed and known and not unseen and not made.get((entry.run_id, entry.step))


def _of_call(kind: FindingKind, call: ApiCall, entry: Intent | None) -> Finding:
    return Finding(
        kind=kind,
        at=call.at,
        what=call.operation,
        run_id=call.run_id,
        step=None if entry is None else entry.step,
        names=sorted(call.names),
        who=call.who,
    )


def _of_entry(entry: Intent) -> Finding:
    return Finding(
        kind=FindingKind.ENTRY_WITHOUT_CALL,
        at=entry.dispatched_at or 0.0,
        what=entry.action,
        run_id=entry.run_id,
        step=entry.step,
        names=[entry.target],
        who=None,
    )


_WRITES = frozenset(one for name in CATALOG for one in write_operations(name))
