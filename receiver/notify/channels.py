"""Channels to people, through Apprise, and to Alertmanager's silences.

Apprise logs lines of its file with their secrets, and its plug-ins log addresses that are secrets:
its log records are kept out of ours. https://github.com/caronc/apprise/wiki/config,
https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import quote

import apprise
import httpx
from pydantic import BaseModel, Field, StringConstraints, TypeAdapter, ValidationError

from actions.messaging import MessengerError
from receiver.http import bounded_read
from receiver.http.bounded_read import TooLargeError, TooSlowError

# Errors after which the request surely never reached the service.
_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.InvalidURL,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
)
_SERVER_ERROR = 500
# Ten thousand silences take a tenth of these bytes; the client's time-outs bound each wait.
_BYTES_MAX, _ANSWER_WITHIN_S = 64 * 2**20, 30.0
_STATUS = re.compile(r"\berror=(\d{3})\b")
_EXPIRED = "expired"


class NotifyFileError(Exception):
    """The notification file is invalid; the text names the file and quotes none of it."""


class _WarningCounter(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        del record
        self.count += 1


class _Recipients:
    """The recipients of an Apprise configuration file, by tag; none without a file.

    A file with any unusable line is refused: a recipient lost to a typing error would be missed
    only in an emergency. Raises NotifyFileError.
    """

    def __init__(self, path: Path | None, *, timeout_s: float = 20.0) -> None:
        self._timeout_s = timeout_s
        # No templates: only the settings read environment variables. No redirects: the file names
        # each address that is called.
        asset = apprise.AppriseAsset(
            app_id="SmartCloudOps", app_url="", allow_templates=False, http_redirects=False
        )
        self._apprise = apprise.Apprise(asset=asset)
        if path is not None:
            self._read(path, asset)

    def has(self, tag: str) -> bool:
        """Whether a recipient has this tag; every recipient has the tag `all`."""
        return any(True for _ in self._apprise.find(tag=tag, match_always=False))

    def notify(self, tag: str, title: str, text: str) -> None:
        """Send to the recipients with this tag or `always`. Raises MessengerError."""
        if not self.has(tag):
            raise MessengerError(f"no recipient is tagged {tag!r} in the notify file", sent=False)
        result = self._apprise.notify(
            body=text,
            title=title,
            notify_type=apprise.NotifyType.WARNING,
            body_format=apprise.NotifyFormat.TEXT,
            tag=tag,
            timeout=self._timeout_s,
        )
        if not result:
            failed = [_failure(attempt) for attempt in result.results if not attempt]
            reason = ", ".join(failed) or "it could not be sent"
            # Some may have it, and a recipient whose answer was lost may have it too.
            text = f"not every recipient tagged {tag!r} was notified: {reason}"
            raise MessengerError(text, sent=bool(result.results))

    def announce(self, tags: Sequence[str], title: str, text: str) -> None:
        """Send to the recipients with any of the tags; there may be none.

        Raises MessengerError, with `sent` where some of them have it.
        """
        if not any(self.has(tag) for tag in tags):
            return
        result = self._apprise.notify(
            body=text,
            title=title,
            notify_type=apprise.NotifyType.INFO,
            body_format=apprise.NotifyFormat.TEXT,
            tag=list(tags),
            timeout=self._timeout_s,
        )
        if not result:
            failed = [_failure(attempt) for attempt in result.results if not attempt]
            reason = ", ".join(failed) or "it could not be sent"
            sent = any(bool(attempt) for attempt in result.results)
            raise MessengerError(f"not every recipient was notified: {reason}", sent=sent)

    def _read(self, path: Path, asset: apprise.AppriseAsset) -> None:
        try:
            path.read_bytes()
        except OSError as error:
            raise NotifyFileError(f"{path}: {error.strerror}") from None
        log, warnings = logging.getLogger("apprise"), _WarningCounter()
        log.propagate = False
        log.setLevel(logging.WARNING)
        # It logs the path of each request, which is the secret of a webhook.
        logging.getLogger("urllib3").setLevel(logging.WARNING)
        log.addHandler(warnings)
        try:
            config = apprise.AppriseConfig(asset=asset, recursion=1)
            # A name with a character that means something in an address must be quoted.
            config.add(f"file://{quote(str(path.absolute()))}")
            self._apprise.add(config)
            recipients = len(self._apprise)
        finally:
            log.removeHandler(warnings)
        if warnings.count or not recipients:
            command = f"apprise --config {path} --dry-run --tag all -b test"
            raise NotifyFileError(
                f"{path}: a line is invalid or no recipient is given; run {command}"
            )


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

    The time-outs of `client` bound each wait for Alertmanager. Raises NotifyFileError.
    """

    def __init__(
        self,
        alertmanager_url: str,
        notify_file: Path | None,
        client: httpx.Client,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url = alertmanager_url.rstrip("/")
        self._recipients = _Recipients(notify_file)
        self._client = client
        self._clock = clock

    def notify(self, to: str, title: str, text: str) -> None:
        self._recipients.notify(to, title, text)

    def announce(self, tags: Sequence[str], title: str, text: str) -> None:
        """Send to the recipients with any of the tags. Raises MessengerError."""
        self._recipients.announce(tags, title, text)

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
        """Ids of pending and active silences: Alertmanager's clock may be behind ours."""
        return [silence.id for silence in self._unexpired() if silence.comment == comment]

    def expire_silence(self, silence_id: str) -> None:
        try:
            self._call("DELETE", f"silence/{quote(silence_id, safe='')}")
        except MessengerError:
            # Some versions answer with an error for a silence that expired or was deleted.
            if any(silence.id == silence_id for silence in self._unexpired()):
                raise

    def _unexpired(self) -> list[_Silence]:
        silences = _checked(_SILENCES, self._call("GET", "silences"))
        return [silence for silence in silences if silence.status.state != _EXPIRED]

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> bytes:
        """The body of a successful answer. Raises MessengerError."""
        until = time.monotonic() + _ANSWER_WITHIN_S
        try:
            with self._client.stream(
                method, f"{self._url}/api/v2/{path}", json=body, follow_redirects=False
            ) as answer:
                content = bounded_read.read_bounded(answer, max_bytes=_BYTES_MAX, deadline=until)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            sent = not isinstance(error, _NEVER_SENT)
            reason = f"Alertmanager cannot be reached: {type(error).__name__}"
            raise MessengerError(reason, sent=sent) from error
        except (TooLargeError, TooSlowError) as error:
            raise MessengerError(
                f"unusable response from Alertmanager: {error}", sent=True
            ) from error
        if not answer.is_success:
            status = answer.status_code
            raise MessengerError(f"Alertmanager answered {status}", sent=status >= _SERVER_ERROR)
        return content


def _checked(kind: TypeAdapter[_Answer], body: bytes) -> _Answer:
    try:
        return kind.validate_json(body)
    except ValidationError as error:
        reason = "unusable response from Alertmanager: it does not match the API's schema"
        raise MessengerError(reason, sent=True) from error


def _failure(result: apprise.NotifyResult) -> str:
    """The service's name and HTTP status; the rest of its log may hold secrets."""
    codes = [match[1] for entry in result.logs() if (match := _STATUS.search(entry.message))]
    status = f"answered {codes[-1]}" if codes else result.status.name.lower()
    return f"{result.name} {status}"


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
