"""The parts of the service that the chat uses."""

from collections.abc import Callable
from typing import Protocol

from receiver.db.database import Database
from receiver.playbooks.loader import Playbooks
from receiver.settings import Settings
from receiver.workflow.commands import RunCommands
from receiver.workflow.dispatcher import Dispatcher


class Parts(Protocol):
    settings: Settings
    playbooks: Playbooks
    database: Database
    dispatcher: Dispatcher
    commands: RunCommands

    @property
    def clock(self) -> Callable[[], float]: ...
