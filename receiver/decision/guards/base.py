"""What a guard is: it says why a run may pass, or refuses with a name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from actions.reasons import Reason
from models.inference.verdict import Verdict
from receiver.decision.model import Situation, Subject
from receiver.playbooks.schema import Playbook


@dataclass(frozen=True, kw_only=True)
class Case:
    alert: Subject
    verdict: Verdict | None
    playbooks: Sequence[Playbook]
    situation: Situation
    now: float


@dataclass(frozen=True)
class No:
    """`retry_at` and `caused_by` as in `Refusal`."""

    reason: Reason
    detail: str
    retry_at: float | None = None
    caused_by: str | None = None


Guard = Callable[[Case], str | No]
# By name, in the order in which they are asked.
Guards = Sequence[tuple[str, Guard]]
