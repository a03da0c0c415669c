"""Base of the actions that start or stop an instance."""

from typing import ClassVar

from actions.aws.instances import read_instance
from actions.base import Action, Call, CallResult, Outcome, Progress, TargetKind, Undo

RUNNING = frozenset({"pending", "running"})
STOPPED = frozenset({"stopping", "stopped"})


class ChangesPower(Action):
    """`reached` are the state `final` and the states on the way to it."""

    target = TargetKind.INSTANCE
    idempotent = True
    # A system that does not shut down is stopped by force after some minutes.
    takes_up_to_s = 600.0
    reached: ClassVar[frozenset[str]]
    final: ClassVar[str]

    def read_back(self, call: Call) -> CallResult:
        return CallResult(Outcome.CHANGED if self.unchanged_since(call) else Outcome.FAILED)

    def progress(self, call: Call) -> Progress:
        state = read_instance(call.aws, call.target).state
        return Progress.DONE if state == self.final else Progress.UNDERWAY

    def undo(self, call: Call) -> Undo | None:
        del call
        return Undo(self.undone_by, {}) if self.undone_by else None

    def unchanged_since(self, call: Call) -> bool:
        return read_instance(call.aws, call.target).state in self.reached
