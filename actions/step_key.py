"""The key of a step within its run; the ledger, the audit and tokens have it as one number."""

from enum import StrEnum
from typing import Any, Self

from pydantic import model_serializer, model_validator
from pydantic.dataclasses import dataclass

# Numbers reserved for the steps before each step of the ladder, and for each escalation; a playbook
# may have fewer.
_RESERVED = 10
# A further attempt to roll back the same step has the number of the first, plus this.
_PER_ATTEMPT = 100_000


class StepKind(StrEnum):
    LADDER = "ladder"  # a rung of the playbook
    BEFORE = "before"  # prepares the target for a step of the ladder
    ROLLBACK = "rollback"  # reverses a step of the two kinds above
    ESCALATION = "escalation"  # calls people
    CAPTURE = "capture"  # keeps evidence that the step of the ladder may destroy


# The first number of each kind, highest first.
_FIRST = {
    StepKind.CAPTURE: 50_000,
    StepKind.ESCALATION: 2_000,
    StepKind.ROLLBACK: 1_000,
    StepKind.BEFORE: 100,
    StepKind.LADDER: 0,
}


@dataclass(frozen=True)
class StepKey:
    """A step's kind, and its index among those of its kind; also validated from its number.

    `attempt` counts, from 0, the attempts to roll the same step back.

    Raises ValueError where the index is outside its kind's numbers.
    """

    kind: StepKind
    index: int
    attempt: int = 0

    @classmethod
    def parse(cls, number: int) -> Self:
        """The key with this number. Raises ValueError for a negative one."""
        attempt = max(0, number // _PER_ATTEMPT)
        rest = number - attempt * _PER_ATTEMPT
        kind = next((kind for kind, first in _FIRST.items() if first <= rest), StepKind.LADDER)
        return cls(kind, rest - _FIRST[kind], attempt)

    @classmethod
    def escalation(cls, position: int, attempt: int) -> Self:
        """The key of an attempt, from 0, of the escalation at this position of the plan."""
        return cls(StepKind.ESCALATION, _RESERVED * attempt + position)

    @property
    def number(self) -> int:
        return _PER_ATTEMPT * self.attempt + _FIRST[self.kind] + self.index

    @property
    def acts(self) -> bool:
        """Whether the step acts or prepares, and so may have to be rolled back."""
        return self.kind in {StepKind.LADDER, StepKind.BEFORE}

    @property
    def order(self) -> tuple[int, int]:
        """The order in which a run acts: each step of the ladder after those before it."""
        if self.kind is StepKind.BEFORE:
            return self.index // _RESERVED, self.position - _RESERVED
        return self.index, 0

    @property
    def position(self) -> int:
        """The position in the plan of an escalation, or of a step before another one."""
        return self.index % _RESERVED

    def reversal(self, attempt: int = 0) -> Self:
        """The key of an attempt, from 0, to roll this step back."""
        return type(self)(StepKind.ROLLBACK, self.number, attempt)

    def before(self, position: int) -> Self:
        """The key of the step at this position of those before this step of the ladder."""
        return type(self)(StepKind.BEFORE, _RESERVED * self.index + position)

    def capture(self) -> Self:
        """The key of the capture before this step of the ladder."""
        return type(self)(StepKind.CAPTURE, self.index)

    def token(self, run_id: str) -> str:
        """The name of this step of the run in AWS: in client tokens, comments and tags."""
        return f"{run_id}/{self.number}"

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, value: Any) -> Any:
        return vars(cls.parse(value)) if isinstance(value, int) else value

    @model_validator(mode="after")
    def _check_index(self) -> Self:
        above = min((first for first in _FIRST.values() if first > _FIRST[self.kind]), default=None)
        taken = _FIRST[self.kind] + self.index >= (above or _PER_ATTEMPT)
        again = self.attempt and self.kind is not StepKind.ROLLBACK
        if self.index < 0 or self.attempt < 0 or taken or again:
            raise ValueError(f"a run has no step {self.index} of kind {self.kind}")
        return self

    @model_serializer
    def _to_number(self) -> int:
        return self.number
