"""What actions reach beside AWS: people, through Apprise, and Alertmanager's silences.

Apprise logs lines of its file as they stand, secrets and all, and its plug-ins log addresses that
are secrets: none of that gets into our log. https://github.com/caronc/apprise/wiki/config,
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
# Ten thousand silences are a tenth of this; the client's own time-outs bound each wait.
_BYTES_MAX, _WHOLE_S = 64 * 2**20, 30.0
_STATUS = re.compile(r"\berror=(\d{3})\b")
_EXPIRED = "expired"


class NotifyFileError(Exception):
    """The notification file cannot be used; the text names the file and quotes nothing of it."""


class _Warnings(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.seen = 0

    def emit(self, record: logging.LogRecord) -> None:
        del record
        self.seen += 1


class _People:
    """The recipients that a file of Apprise's form names by tags; without a file, nobody.

    One that was left out over a typing error would be missed only when it is needed: a file of
    which any line cannot be used is refused. Raises NotifyFileError.
    """

    def __init__(self, path: Path | None, *, timeout_s: float = 20.0) -> None:
        self._timeout_s = timeout_s
        # Variables of the environment are read in the settings alone.
        # Where an answer would send us is not what the file names.
        asset = apprise.AppriseAsset(
            app_id="SmartCloudOps", app_url="", allow_templates=False, http_redirects=False
        )
        self._apprise = apprise.Apprise(asset=asset)
        if path is not None:
            self._read(path, asset)

    def knows(self, to: str) -> bool:
        """Whether the file names anybody so; `all` is everybody in it."""
        return any(True for _ in self._apprise.find(tag=to, match_always=False))

    def tell(self, to: str, title: str, text: str) -> None:
        """Tell those that are named so, and whom the file names `always`. Raises MessengerError."""
        if not self.knows(to):
            raise MessengerError(f"there is nobody to notify as {to!r}", sent=False)
        result = self._apprise.notify(
            body=text,
            title=title,
            notify_type=apprise.NotifyType.WARNING,
            body_format=apprise.NotifyFormat.TEXT,
            tag=to,
            timeout=self._timeout_s,
        )
        if not result:
            failed = [_failure(one) for one in result.results if not one]
            said = ", ".join(failed) or "it could not be sent"
            # Some may have it, and one whose answer was lost may have it too.
            raise MessengerError(f"{to} may not have been told: {said}", sent=bool(result.results))

    def announce(self, tags: Sequence[str], title: str, text: str) -> None:
        """Tell those that any of the tags names, and it is fine where that is nobody.

        Raises MessengerError; `sent` where some of them have it.
        """
        if not any(self.knows(tag) for tag in tags):
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
            failed = ", ".join(_failure(one) for one in result.results if not one)
            told = any(bool(one) for one in result.results)
            raise MessengerError(
                f"not all were told: {failed or 'it could not be sent'}", sent=told
            )

    def _read(self, path: Path, asset: apprise.AppriseAsset) -> None:
        try:
            path.read_bytes()
        except OSError as error:
            raise NotifyFileError(f"{path}: {error.strerror}") from None
        log, faults = logging.getLogger("apprise"), _Warnings()
        log.propagate = False
        log.setLevel(logging.WARNING)
        # It logs the path of each request, which is the secret of a webhook.
        logging.getLogger("urllib3").setLevel(logging.WARNING)
        log.addHandler(faults)
        try:
            config = apprise.AppriseConfig(asset=asset, recursion=1)
            # A name with a character that means something in an address must be quoted.
            config.add(f"file://{quote(str(path.absolute()))}")
            self._apprise.add(config)
            known = len(self._apprise)
        finally:
            log.removeHandler(faults)
        if faults.seen or not known:
            how = f"apprise --config {path} --dry-run --tag all -b test"
            raise NotifyFileError(f"{path}: not all of it can be used; see {how}")


class _Made(BaseModel):
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
_MADE, _SILENCES = TypeAdapter(_Made), TypeAdapter(list[_Silence])


class Services:
    """The people of the notification file, and Alertmanager; used from several threads at once.

    `client`'s time-outs bound each wait for Alertmanager. Raises NotifyFileError.
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
        self._people = _People(notify_file)
        self._client = client
        self._clock = clock

    def notify(self, to: str, title: str, text: str) -> None:
        self._people.tell(to, title, text)

    def announce(self, tags: Sequence[str], title: str, text: str) -> None:
        """Tell those that any of the tags names. Raises MessengerError."""
        self._people.announce(tags, title, text)

    def silence(self, matchers: Mapping[str, str], *, lasts_s: float, comment: str) -> str:
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
        return _checked(_MADE, self._call("POST", "silences", body)).silence_id

    def silences(self, comment: str) -> Sequence[str]:
        """One that waits for Alertmanager's clock to reach ours is active to us."""
        return [one.id for one in self._unexpired() if one.comment == comment]

    def expire(self, silence_id: str) -> None:
        try:
            self._call("DELETE", f"silence/{quote(silence_id, safe='')}")
        except MessengerError:
            # Some versions answer with an error where it has ended, or is long forgotten.
            if any(one.id == silence_id for one in self._unexpired()):
                raise

    def _unexpired(self) -> list[_Silence]:
        found = _checked(_SILENCES, self._call("GET", "silences"))
        return [one for one in found if one.status.state != _EXPIRED]

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> bytes:
        """The body of what was answered with success."""
        until = time.monotonic() + _WHOLE_S
        try:
            with self._client.stream(
                method, f"{self._url}/api/v2/{path}", json=body, follow_redirects=False
            ) as answer:
                said = bounded_read.read(answer, most=_BYTES_MAX, until=until)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            sent = not isinstance(error, _NEVER_SENT)
            why = f"Alertmanager is out of reach: {type(error).__name__}"
            raise MessengerError(why, sent=sent) from error
        except (TooLargeError, TooSlowError) as error:
            raise MessengerError(f"Alertmanager is no use: {error}", sent=True) from error
        if not answer.is_success:
            status = answer.status_code
            raise MessengerError(f"Alertmanager answered {status}", sent=status >= _SERVER_ERROR)
        return said


def _checked(kind: TypeAdapter[_Answer], body: bytes) -> _Answer:
    try:
        return kind.validate_json(body)
    except ValidationError as error:
        said = "Alertmanager's answer is not of the form its API has"
        raise MessengerError(said, sent=True) from error


def _failure(one: apprise.NotifyResult) -> str:
    """The service's name, and the status it answered with, which is all that holds no secret."""
    codes = [found[1] for entry in one.logs() if (found := _STATUS.search(entry.message))]
    return f"{one.name} answered {codes[-1]}" if codes else f"{one.name} {one.status.name.lower()}"


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
