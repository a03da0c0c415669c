"""What is decided on: a run with its playbooks and its target."""

from collections.abc import Sequence
from dataclasses import dataclass

from receiver.evidence.target import Target
from receiver.playbooks.schema import Playbook
from receiver.runs.model import Run


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A run to decide on, the playbooks that match it, and its target."""

    run: Run
    playbooks: Sequence[Playbook]
    target: Target

    @property
    def playbook(self) -> Playbook:
        """The only playbook of a `readable` run."""
        return self.playbooks[0]

    @property
    def names(self) -> Sequence[str]:
        return [name for name in (self.target.id, self.target.group) if name]

    @property
    def owner(self) -> str:
        """The run whose own reservations do not count; empty for a run that has not acted."""
        return self.run.id if self.run.steps_begun else ""

    @property
    def readable(self) -> bool:
        """Whether facts must be read for the run; `PLAIN` refuses every other run without them."""
        return len(self.playbooks) == 1 and bool(self.names)

    @property
    def key(self) -> tuple[Target, str, str]:
        """Subjects with equal keys have equal records."""
        return self.target, self.playbook.name, self.owner
