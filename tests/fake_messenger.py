"""Notifications and silences, kept in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from actions.messaging import MessengerError


@dataclass
class FakeMessenger:
    """The next changing call raises `broken`, after its effect if `sent`."""

    notifications: list[tuple[str, str, str]] = field(default_factory=list)
    active: dict[str, tuple[Mapping[str, str], str]] = field(default_factory=dict)
    broken: MessengerError | None = None

    def notify(self, to: str, title: str, text: str) -> None:
        self._break(sent=False)
        self.notifications.append((to, title, text))
        self._break(sent=True)

    def create_silence(self, matchers: Mapping[str, str], *, lasts_s: float, comment: str) -> str:
        del lasts_s
        self._break(sent=False)
        silence_id = f"silence-{len(self.active)}"
        self.active[silence_id] = (matchers, comment)
        self._break(sent=True)
        return silence_id

    def find_silences(self, comment: str) -> Sequence[str]:
        return [silence_id for silence_id, (_, text) in self.active.items() if text == comment]

    def expire_silence(self, silence_id: str) -> None:
        self.active.pop(silence_id, None)

    def _break(self, *, sent: bool) -> None:
        error = self.broken
        if error is not None and error.sent is sent:
            self.broken = None
            raise error
