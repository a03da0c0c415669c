"""Channels to people, through Apprise, and to Alertmanager's silences."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, Field, StringConstraints, TypeAdapter, ValidationError

from actions.messaging import MessengerError
from receiver.monitoring.alertmanager import Alertmanager, AlertmanagerError
from receiver.notify.recipients import Delivery, Recipients

_EXPIRED = "expired"


class _Created(BaseModel):
    silence_id: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z-]{1,64}$")] = Field(
        alias="silenceID"
    )


class _Status(BaseModel):
    state: str


class _Silence(BaseModel):
    id: str
    comment: str
    status: _Status


_Answer = TypeVar("_Answer")
_CREATED, _SILENCES = TypeAdapter(_Created), TypeAdapter(list[_Silence])


class Channels:
    """The recipients of the notification file, and Alertmanager's silences; thread-safe.

    Raises NotifyFileError.
    """

    def __init__(
        self,
        alertmanager: Alertmanager,
        notify_file: Path | None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._alertmanager = alertmanager
        self._recipients = Recipients(notify_file)
        self._clock = clock

    def notify(self, to: str, title: str, text: str) -> None:
        self._recipients.notify(to, title, text)

    def announce(
        self, tags: Sequence[str], title: str, text: str, reached: Collection[str] = ()
    ) -> Delivery:
        """Send to the recipients with any of the tags, except those in `reached`."""
        return self._recipients.announce(tags, title, text, reached)

    def create_silence(self, matchers: Mapping[str, str], *, lasts_s: float, comment: str) -> str:
        now = self._clock()
        exact = [
            {"name": name, "value": value, "isRegex": False, "isEqual": True}
            for name, value in matchers.items()
        ]
        body = {
            "matchers": exact,
            "startsAt": _rfc3339(now),
            "endsAt": _rfc3339(now + lasts_s),
            "createdBy": "smartcloudops",
            "comment": comment,
        }
        return _checked(_CREATED, self._call("POST", "silences", body)).silence_id

    def find_silences(self, comment: str) -> Sequence[str]:
        """Ids of active silences, and of pending ones, as Alertmanager's clock may be late."""
        return [silence.id for silence in self._unexpired() if silence.comment == comment]

    def expire_silence(self, silence_id: str) -> None:
        try:
            self._call("DELETE", f"silence/{quote(silence_id, safe='')}")
        except MessengerError:
            # Some versions return an error for a silence that expired or was deleted.
            if any(silence.id == silence_id for silence in self._unexpired()):
                raise

    def _unexpired(self) -> list[_Silence]:
        silences = _checked(_SILENCES, self._call("GET", "silences"))
        return [silence for silence in silences if silence.status.state != _EXPIRED]

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> bytes:
        """Raises MessengerError."""
        try:
            return self._alertmanager.call(method, path, body=body)
        except AlertmanagerError as error:
            raise MessengerError(str(error), sent=error.sent) from error


def _checked(kind: TypeAdapter[_Answer], body: bytes) -> _Answer:
    try:
        return kind.validate_json(body)
    except ValidationError as error:
        reason = "unusable response from Alertmanager: it does not match the API's schema"
        raise MessengerError(reason, sent=True) from error


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
