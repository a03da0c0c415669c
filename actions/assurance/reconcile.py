"""Reconcile the ledger with CloudTrail.

An entry without its call is a finding, and so is a call without its entry.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from actions.assurance.cloudtrail import DELIVERY_DELAY_S, ApiCall
from actions.assurance.iam_policy import is_read
from actions.base import Outcome
from actions.catalog.registry import CATALOG, find_action
from actions.execution.ledger import Intent
from actions.step_key import StepKey

# Greatest difference allowed between this host's clock and the clock that dates the calls.
TOLERANCE_S = 120.0
# A file's modification time may be one kernel clock tick before its write.
_WRITTEN_S = 0.1
# Operations that are data events, which LookupEvents does not return.
# https://docs.aws.amazon.com/sns/latest/dg/logging-using-cloudtrail.html
_UNSEEN = frozenset({"Publish"})


class FindingKind(StrEnum):
    CALL_WITHOUT_ENTRY = "call_without_entry"
    ENTRY_WITHOUT_CALL = "entry_without_call"
    REPEATED_CALL = "repeated_call"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A difference; `what` is a call's operation or an entry's action, `at` is in epoch seconds."""

    kind: FindingKind
    at: float
    what: str
    run_id: str
    step: StepKey | None
    names: Sequence[str]
    who: str | None


@dataclass(frozen=True, kw_only=True)
class Reconciliation:
    """The result; `pending` counts entries whose calls CloudTrail may not show yet."""

    calls: int
    entries: int
    pending: int
    findings: Sequence[Finding]


def write_operations(action: str) -> frozenset[str]:
    """The AWS operations by which an action changes something; all, for a retired action."""
    if action not in CATALOG:
        return _WRITES
    names = (name for name in find_action(action).permissions if not is_read(name))
    return frozenset(name.partition(":")[2] for name in names)


def select_own(calls: Iterable[ApiCall], roles: Collection[str]) -> Iterator[ApiCall]:
    """The calls of this service: they name a run, were made by its roles, or have no identity.

    Without `roles`, each identity that made a call with a run's name counts as its role.
    """
    writes = [call for call in calls if call.operation in _WRITES]
    own = set(roles) or {call.who for call in writes if call.run_id and call.who}
    return (call for call in writes if call.run_id or call.who is None or call.who in own)


def reconcile(
    entries: Sequence[Intent], calls: Iterable[ApiCall], *, since: float, until: float, late: bool
) -> Reconciliation:
    """Compare entries of the ledger with this service's own calls from `since` to `until`.

    Include entries from before `since`, because their calls may come right after it. `late`: calls
    of the last quarter of an hour before `until` may be missing.
    """
    sent = [
        entry
        for entry in entries
        if entry.dispatched_at is not None and write_operations(entry.action)
    ]
    calls = sorted((call for call in calls if call.at >= since), key=lambda call: call.at)
    findings, accepted = [], Counter[tuple[str, StepKey]]()
    times = Counter[tuple[str, StepKey, str, frozenset[str]]]()
    for call in calls:
        entry = _entry(call, sent)
        if entry is None:
            findings.append(_of_call(FindingKind.CALL_WITHOUT_ENTRY, call, None))
            continue
        key = (entry.run_id, entry.step)
        accepted[key] += not call.refused
        times[*key, call.operation, call.names] += 1
        repeated = times[*key, call.operation, call.names] > 1
        if repeated and not find_action(entry.action).idempotent:
            findings.append(_of_call(FindingKind.REPEATED_CALL, call, entry))
    without_call = [entry for entry in sent if _lacks_call(entry, accepted, since=since, late=late)]
    complete_to = until - DELIVERY_DELAY_S - TOLERANCE_S if late else until + _WRITTEN_S
    findings += [
        _of_entry(entry) for entry in without_call if (entry.ended_at or complete_to) <= complete_to
    ]
    return Reconciliation(
        calls=len(calls),
        entries=sum(1 for entry in sent if (entry.dispatched_at or 0.0) >= since),
        pending=sum(1 for entry in without_call if (entry.ended_at or complete_to) > complete_to),
        findings=sorted(findings, key=lambda finding: finding.at),
    )


def _entry(call: ApiCall, sent: Iterable[Intent]) -> Intent | None:
    """The step that made this call: the one sent nearest to it, if several may have."""
    fitting = (entry for entry in sent if _fits(call, entry))
    return min(fitting, key=lambda entry: abs(call.at - (entry.dispatched_at or 0.0)), default=None)


def _fits(call: ApiCall, entry: Intent) -> bool:
    """Whether the step made this call: same run, operation and target, while it was under way."""
    begun = (entry.dispatched_at or 0.0) - TOLERANCE_S
    ended = float("inf") if entry.ended_at is None else entry.ended_at + TOLERANCE_S
    return (
        call.run_id == entry.run_id
        and call.operation in write_operations(entry.action)
        and begun <= call.at <= ended
        and not call.names.isdisjoint(_names(entry))
    )


def _names(entry: Intent) -> set[str]:
    """The target, the token, and every string in the step's params and results."""
    return {
        entry.target,
        entry.step.token(entry.run_id),
        *_texts([entry.params, entry.before, entry.made]),
    }


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def _lacks_call(
    entry: Intent, accepted: Mapping[tuple[str, StepKey], int], *, since: float, late: bool
) -> bool:
    """Whether the entry records a change that no accepted call made."""
    # The calls of a retired action are unknown, so a missing one cannot be noticed.
    unseen = (
        entry.action not in CATALOG
        or (late and write_operations(entry.action) <= _UNSEEN)
        or not find_action(entry.action).has_written(entry.made)
    )
    in_range = (entry.dispatched_at or 0.0) - TOLERANCE_S >= since
    changed = entry.outcome is Outcome.CHANGED
    return changed and in_range and not unseen and not accepted.get((entry.run_id, entry.step))


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


_WRITES = frozenset(operation for name in CATALOG for operation in write_operations(name))
