"""An action of an earlier release that the catalogue no longer has.

The ledger, unfinished runs and the audit log may still name it.
"""

from collections.abc import Mapping
from typing import Any, Never

from actions.aws.target_errors import NotActionableError
from actions.base import (
    Action,
    Call,
    CallResult,
    Impact,
    Observation,
    Outcome,
    Progress,
    TargetKind,
)


class RetiredAction(Action):
    """Counts as disruptive, because its effect is unknown; it never calls AWS."""

    target = TargetKind.ANY
    impact = Impact.DISRUPTIVE
    removes_capacity = True
    needs_approval = True
    idempotent = False
    permissions = ()

    def __init__(self, name: str) -> None:
        self.name = name  # type: ignore[misc] # one class for all removed names

    def observe(self, call: Call) -> Observation:
        self._refuse(call)

    def act(self, call: Call) -> Mapping[str, Any]:
        self._refuse(call)

    def read_back(self, call: Call) -> CallResult:
        del call
        return CallResult(Outcome.UNKNOWN)

    def progress(self, call: Call) -> Progress:
        del call
        return Progress.UNKNOWN

    def _refuse(self, call: Call) -> Never:
        text = f"cannot perform {self.name} on {call.target}: this action was removed"
        raise NotActionableError(text)
