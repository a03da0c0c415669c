"""The question that a person is asked, with its consequences: one text for every place.

The console, Slack and each message show it. It has no text of the alert, whose sender could
otherwise write in our name.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from actions.base import Impact
from actions.catalog.registry import find_action
from receiver.runs.model import PlannedAction, Run, StoredPlan
from receiver.runtime.redaction import plain

_MINUTE_S = 60.0
_OF_INSTANCE = "_instance"
_IMPACTS = {
    Impact.HARMLESS: "changes nothing",
    Impact.REVERSIBLE: "can be rolled back",
    Impact.DISRUPTIVE: "interrupts it",
    Impact.DESTRUCTIVE: "something is lost for good",
}
_TERMINATES = frozenset({"replace_instance", "scale_in"})


def question_of(run: Run) -> str | None:
    """What a person is asked about the waiting run; None where nothing is asked."""
    return None if run.plan is None else question(run.plan)


def question(plan: StoredPlan) -> str:
    """`Reboot i-… (web-3, 10.0.0.9) in web-asg? 5 of 6 stay in service; …`."""
    return " ".join(_sentences(plan))


def _sentences(plan: StoredPlan) -> Iterator[str]:
    known = plan.consequences
    named = ", ".join(filter(None, (plain(known.name), plain(known.address))))
    of_group = f" in {plan.group}" if plan.group and plan.group != plan.target else ""
    params = _params(plan.params)
    whom = f"{_verb(plan.action)} {plan.target}{f' ({named})' if named else ''}{of_group}"
    yield f"{whom}{f', with {params}' if params else ''}?"
    if plan.before:
        yield f"First: {', '.join(_words(step.action) for step in plan.before)}."
    if known.members is not None:
        yield (
            f"{known.stay} of {known.members} {'stays' if known.stay == 1 else 'stay'} in service; "
            f"the limit is {known.limit}."
        )
    yield _duration(plan)
    if known.next_action:
        asked = "asked again" if known.next_asks else "decided again"
        action = known.next_action
        harm = "terminates" if action in _TERMINATES else _IMPACTS[find_action(action).impact]
        yield f"If it does not help: {_words(known.next_action)} ({harm}), {asked}."
    else:
        yield f"If it does not help: {_told(plan.escalate)}."
    yield f"Rolled back on failure: {_undone(plan)}."


def _duration(plan: StoredPlan) -> str:
    action, known = find_action(plan.action), plan.consequences
    if known.took_s is not None:
        times = "time" if known.times == 1 else f"{known.times} times"
        return f"Takes about {_span(known.took_s)}, as the last {times}."
    watched = f"recovery is watched for up to {_span(plan.verify.timeout_s)}"
    if not action.takes_up_to_s:
        return f"{watched.capitalize()}."
    return f"AWS may take up to {_span(action.takes_up_to_s)}, then {watched}."


def _undone(plan: StoredPlan) -> str:
    undone_by = find_action(plan.action).undone_by
    if undone_by is None:
        return "no, it cannot be"
    return f"yes, by {_words(undone_by)}" if plan.rollback else "no"


def _told(escalate: Sequence[PlannedAction]) -> str:
    actions = ", ".join(dict.fromkeys(_words(step.action) for step in escalate))
    return f"{actions}, a person is needed" if actions else "a person is needed"


def _verb(action: str) -> str:
    """`Reboot` of an instance, else `Scale in on`."""
    if action.endswith(_OF_INSTANCE):
        return _words(action.removesuffix(_OF_INSTANCE)).capitalize()
    return f"{_words(action).capitalize()} on"


def _params(params: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{_words(name)} {plain(str(value))}" for name, value in sorted(params.items())
    )


def _words(name: str) -> str:
    return name.replace("_", " ")


def _span(seconds: float) -> str:
    if seconds < _MINUTE_S:
        return f"{seconds:.0f} s"
    minutes = seconds / _MINUTE_S
    return f"{minutes:.0f} min" if minutes < 2 * _MINUTE_S else f"{minutes / _MINUTE_S:.0f} h"
