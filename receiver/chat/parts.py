"""The parts of the service that the chat uses."""

from collections.abc import Callable
from typing import Protocol

from receiver.db.database import Database
from receiver.playbooks.loader import Playbooks
from receiver.settings import Settings
from receiver.workflow.dispatcher import Assessor
from receiver.workflow.interventions import Interventions


class Parts(Protocol):
    settings: Settings
    playbooks: Playbooks
    database: Database
    assessor: Assessor
    interventions: Interventions

    @property
    def clock(self) -> Callable[[], float]: ...
