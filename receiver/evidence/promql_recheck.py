"""A playbook's own queries: its facts, and the re-check that replaces the model's verdict.

The model judges instances, not groups or services: for these the playbook lists conditions that
must hold. A query without data leaves the verdict undecided.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace

from models.inference.verdict import Answer, Contribution, Verdict
from receiver.evidence.prometheus.answers import PrometheusError
from receiver.evidence.prometheus.condition import holds
from receiver.evidence.prometheus.expressions import at_place
from receiver.evidence.prometheus.freshness import ConditionReader
from receiver.evidence.target import Target
from receiver.playbooks.placeholders import render
from receiver.playbooks.schema import Playbook

MODEL = "playbook/1"


def read_facts(
    reader: ConditionReader, playbook: Playbook, target: Target, at: float, pool: Executor
) -> Mapping[str, float]:
    """The playbook's facts by name, without those whose query has no single value."""
    bound = {name: _bound(expr, target, playbook) for name, expr in playbook.facts.items()}
    pending = {name: pool.submit(_value, reader, expr, at) for name, expr in bound.items()}
    return {
        name: value for name, future in pending.items() if (value := future.result()) is not None
    }


def conditions_of(playbook: Playbook, target: Target) -> list[str]:
    """The conditions of the re-check for this target, as Prometheus is asked."""
    return [_bound(expr, target, playbook) for expr in playbook.recheck]


def recheck(
    reader: ConditionReader, playbook: Playbook, target: Target, at: float, pool: Executor
) -> Verdict:
    """Confirmed if all conditions are true, refuted if one is false, otherwise undecided."""
    bound = conditions_of(playbook, target)
    answers = list(pool.map(lambda expr: _holds(reader, expr, at), bound))
    if all(answers):
        answer, score = Answer.CONFIRMED, 1.0
    elif False in answers:
        answer, score = Answer.REFUTED, 0.0
    else:
        answer, score = Answer.UNDECIDED, 0.5
    return Verdict(
        answer=answer,
        score=score,
        confidence=None,
        model=MODEL,
        contributions=_reasons(
            [_shown(one, target, playbook) for one in playbook.recheck], answers
        ),
    )


def unless_old(
    reader: ConditionReader,
    verdict: Verdict,
    playbook: Playbook,
    target: Target,
    times: tuple[float, float],
) -> Verdict:
    """The verdict; one that refutes by samples from before the alert is undecided.

    `times` are the alert's beginning and now, in epoch seconds.
    """
    if verdict.answer is not Answer.REFUTED:
        return verdict
    for expr in conditions_of(playbook, target) or [target.exporter.presence_of(target.selector)]:
        if reason := reader.why_too_old(expr, *times):
            told = Contribution(role="", sigma=None, text=reason)
            return replace(verdict, answer=Answer.UNDECIDED, contributions=(told,), early=True)
    return verdict


def _holds(reader: ConditionReader, expr: str, at: float) -> bool | None:
    """Whether the condition holds, in wider windows if its own are too short for an answer."""
    answer = holds(reader.prometheus, expr, at)
    if answer is None and (wider := reader.widened(expr, at)):
        return holds(reader.prometheus, wider, at)
    return answer


def _reasons(exprs: Sequence[str], answers: Sequence[bool | None]) -> tuple[Contribution, ...]:
    result = {True: "holds", False: "does not hold", None: "has no answer"}
    return tuple(
        Contribution(role="", sigma=None, text=f"{expr} {result[answer]}")
        for expr, answer in zip(exprs, answers, strict=True)
    )


def _value(reader: ConditionReader, expr: str, at: float) -> float | None:
    """The single value, in wider windows if the expression's own are too short for one."""
    try:
        samples = reader.prometheus.instant_query(expr, at=at)
        if not samples and (wider := reader.widened(expr, at)):
            samples = reader.prometheus.instant_query(wider, at=at)
    except PrometheusError:
        return None
    return samples[0].value if len(samples) == 1 else None


def _bound(expr: str, target: Target, playbook: Playbook) -> str:
    return at_place(str(render(expr, _values(target, playbook))), target.group, target.where)


def _shown(expr: str, target: Target, playbook: Playbook) -> str:
    """The expression for people: matchers of many names keep their placeholder."""
    values = _values(target, playbook)
    if target.series is not None:
        values |= {"selector": "$selector", "members": "$members"}
    return str(render(expr, values))


def _values(target: Target, playbook: Playbook) -> dict[str, str]:
    instance_id = target.id if target.id != target.group else ""
    return {
        "instance_id": instance_id or "",
        "asg": target.group or "",
        "selector": target.selector,
        "members": target.members,
        "host": target.host_label,
        "run_id": "",
        "playbook": playbook.name,
    }
