"""The signature of a guard: it says why the run may go on, or refuses for a named reason."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from actions.refusal import Refusal
from models.inference.verdict import Verdict
from receiver.decision.model import Snapshot, Trigger
from receiver.playbooks.schema import Playbook


@dataclass(frozen=True, kw_only=True)
class GuardInput:
    """All that a guard may read. `playbooks` are those whose matchers fit the alert."""

    trigger: Trigger
    verdict: Verdict | None
    playbooks: Sequence[Playbook]
    snapshot: Snapshot
    now: float


Guard = Callable[[GuardInput], str | Refusal]
# Pairs of a gate's name and its guard, in the order in which they are checked.
Guards = Sequence[tuple[str, Guard]]
