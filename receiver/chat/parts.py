"""The parts of the service that the chat uses."""

from collections.abc import Callable
from typing import Protocol

from receiver.db.database import Database
from receiver.playbooks.loader import Playbooks
from receiver.settings import Settings
from receiver.webhook.inbox import Inbox
from receiver.workflow.commands import RunCommands


class Parts(Protocol):
    settings: Settings
    playbooks: Playbooks
    database: Database
    commands: RunCommands

    @property
    def clock(self) -> Callable[[], float]: ...

    @property
    def inbox(self) -> Inbox: ...
