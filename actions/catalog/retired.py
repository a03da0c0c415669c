"""An action of an earlier release that the catalogue no longer has.

Records outlive the code: the ledger, runs under way and the audit log still name it.
"""

from collections.abc import Mapping
from typing import Any, Never

from actions.aws.inventory import NotActionableError
from actions.base import Action, Call, CallResult, Impact, Observation, Outcome, TargetKind


class RetiredAction(Action):
    """Counts as disruptive, as nobody knows what it did; it never calls AWS."""

    target = TargetKind.ANY
    impact = Impact.DISRUPTIVE
    removes_capacity = True
    needs_approval = True
    idempotent = False
    permissions = ()

    def __init__(self, name: str) -> None:
        self.name = name  # type: ignore[misc] # one class for all names that left

    def observe(self, call: Call) -> Observation:
        self._refuse(call)

    def act(self, call: Call) -> Mapping[str, Any]:
        self._refuse(call)

    def read_back(self, call: Call) -> CallResult:
        del call
        return CallResult(Outcome.UNKNOWN)

    def _refuse(self, call: Call) -> Never:
        text = f"{self.name} on {call.target} cannot be performed: it is no longer in the catalogue"
        raise NotActionableError(text)
