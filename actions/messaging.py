"""The port to people and to Alertmanager's silences, as actions use it."""

from collections.abc import Mapping, Sequence
from typing import Protocol


class MessengerError(Exception):
    """A channel or Alertmanager refused or did not answer; if `sent`, it may have acted."""

    def __init__(self, text: str, *, sent: bool) -> None:
        super().__init__(text)
        self.sent = sent


class Messenger(Protocol):
    """Each method raises MessengerError."""

    def notify(self, to: str, title: str, text: str) -> None:
        """Notify the recipients tagged `to` in the notification file."""
        ...

    def create_silence(self, matchers: Mapping[str, str], *, lasts_s: float, comment: str) -> str:
        """Silence alerts with exactly these labels. Returns the id of the silence."""
        ...

    def find_silences(self, comment: str) -> Sequence[str]:
        """Ids of the active silences with exactly this comment."""
        ...

    def expire_silence(self, silence_id: str) -> None:
        """End a silence; one that has ended stays as it is."""
        ...


class NullMessenger:
    """A service without a notification file and without Alertmanager."""

    def notify(self, to: str, title: str, text: str) -> None:
        del title, text
        raise MessengerError(f"{to!r} has no recipient: set SMARTCLOUDOPS_NOTIFY_FILE", sent=False)

    def create_silence(self, matchers: Mapping[str, str], *, lasts_s: float, comment: str) -> str:
        del matchers, lasts_s, comment
        raise MessengerError("no Alertmanager is configured", sent=False)

    def find_silences(self, comment: str) -> Sequence[str]:
        del comment
        raise MessengerError("no Alertmanager is configured", sent=False)

    def expire_silence(self, silence_id: str) -> None:
        del silence_id
        raise MessengerError("no Alertmanager is configured", sent=False)
