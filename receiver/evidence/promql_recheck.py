"""What a playbook asks Prometheus itself: its facts, and what stands in for the model.

A group as a whole, or a service, is nothing that the model has learnt: there the playbook says
which queries must hold. No data is no answer, and the verdict then undecided.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor

from models.inference.verdict import Answer, Contribution, Verdict
from receiver.evidence.aws_state import Target
from receiver.evidence.metrics_query import holds
from receiver.evidence.prometheus import Prometheus, PrometheusError
from receiver.playbooks.schema import Playbook, filled

MODEL = "playbook/1"


def facts(
    prometheus: Prometheus, playbook: Playbook, target: Target, at: float, pool: Executor
) -> Mapping[str, float]:
    """The playbook's facts; one that has no single value is not there."""
    bound = {name: _bound(expr, target, playbook) for name, expr in playbook.facts.items()}
    values = {name: pool.submit(_value, prometheus, expr, at) for name, expr in bound.items()}
    found = {name: value.result() for name, value in values.items()}
    return {name: value for name, value in found.items() if value is not None}


def recheck(
    prometheus: Prometheus, playbook: Playbook, target: Target, at: float, pool: Executor
) -> Verdict:
    """Confirmed where all conditions hold, refuted where one does not, otherwise undecided."""
    bound = [_bound(expr, target, playbook) for expr in playbook.recheck]
    answers = list(pool.map(lambda expr: holds(prometheus, expr, at), bound))
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
        contributions=_reasons(bound, answers),
    )


def _reasons(exprs: Sequence[str], answers: Sequence[bool | None]) -> tuple[Contribution, ...]:
    said = {True: "holds", False: "does not hold", None: "has no answer"}
    return tuple(
        Contribution(role="", sigma=None, text=f"{expr} {said[answer]}")
        for expr, answer in zip(exprs, answers, strict=True)
    )


def _value(prometheus: Prometheus, expr: str, at: float) -> float | None:
    try:
        found = prometheus.instant_query(expr, at=at)
    except PrometheusError:
        return None
    return found[0].value if len(found) == 1 else None


def _bound(expr: str, target: Target, playbook: Playbook) -> str:
    instance_id = target.id if target.id != target.group else ""
    values = {
        "instance_id": instance_id or "",
        "asg": target.group or "",
        "run_id": "",
        "playbook": playbook.name,
    }
    return str(filled(expr, values))
