"""What actions reach beside AWS, handed to them: the people, and Alertmanager's silences."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class MessengerError(Exception):
    """A service beside AWS refused, or did not answer. `sent`: it may have been done."""

    def __init__(self, text: str, *, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent


class Messenger(Protocol):
    """Each method raises MessengerError."""

    def notify(self, to: str, title: str, text: str) -> None:
        """Tell the people that the configuration calls `to`."""
        ...

    def create_silence(self, matchers: Mapping[str, str], *, lasts_s: float, comment: str) -> str:
        """Silence alerts with exactly these labels; the silence's id."""
        ...

    def find_silences(self, comment: str) -> Sequence[str]:
        """Ids of the active silences with just this comment."""
        ...

    def expire_silence(self, silence_id: str) -> None:
        """End a silence; one that has ended is left."""
        ...


class NullMessenger:
    """An outside that nobody configured."""

    def notify(self, to: str, title: str, text: str) -> None:
        del title, text
        raise MessengerError(f"there is nobody to notify as {to!r}", sent=False)

    def create_silence(self, matchers: Mapping[str, str], *, lasts_s: float, comment: str) -> str:
        del matchers, lasts_s, comment
        raise MessengerError("there is no Alertmanager", sent=False)

    def find_silences(self, comment: str) -> Sequence[str]:
        del comment
        raise MessengerError("there is no Alertmanager", sent=False)

    def expire_silence(self, silence_id: str) -> None:
        del silence_id
        raise MessengerError("there is no Alertmanager", sent=False)
