"""How targets and their metrics are found: the mapping of labels, and the exporters' roles."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from receiver.evidence.roles import loader as roles
from receiver.evidence.roles.exporter import Exporter
from receiver.evidence.roles.node_exporter import NODE_EXPORTER
from receiver.evidence.targets import mapping
from receiver.evidence.targets.mapping import TargetMapping
from receiver.playbooks.watched_files import WatchedFiles
from receiver.settings import Settings


@dataclass
class TargetRules:
    """The rules in use; each is replaced at once when its files change."""

    mapping: TargetMapping
    exporters: Sequence[Exporter] = (NODE_EXPORTER,)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Raises InvalidTargetsError or InvalidRolesError."""
        return cls(mapping.load(settings.targets), roles.load(settings.roles))

    def watch(self, settings: Settings) -> Sequence[WatchedFiles]:
        """The files of the settings, which replace these rules when they change."""
        targets, folder = settings.targets or mapping.DEFAULT, settings.roles

        def load_targets() -> None:
            self.mapping = mapping.load(targets)

        def load_roles() -> None:
            self.exporters = roles.load(folder)

        return (
            WatchedFiles("targets", lambda: [targets], load_targets),
            WatchedFiles("roles", lambda: roles.files(folder), load_roles),
        )
