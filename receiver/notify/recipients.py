"""Recipients of notifications, through Apprise.

Apprise logs lines of its file with their secrets, and its plug-ins log addresses that are secrets:
none of its log records enter the service's log. https://github.com/caronc/apprise/wiki/config
"""

import logging
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import apprise

from actions.messaging import MessengerError

_STATUS = re.compile(r"\berror=(\d{3})\b")


class NotifyFileError(Exception):
    """The notification file is invalid; the text names the file and quotes none of it."""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """The recipients that have the message; `failures` has the causes for all others."""

    reached: frozenset[str] = frozenset()
    failures: str = ""


class _WarningCounter(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        del record
        self.count += 1


class Recipients:
    """The recipients of an Apprise configuration file, by tag; none without a file.

    A file with an unusable line is refused: otherwise a typing error would be noticed only in an
    emergency. Raises NotifyFileError.
    """

    def __init__(self, path: Path | None, *, timeout_s: float = 20.0) -> None:
        self._timeout_s = timeout_s
        # Without templates, so that only the settings read environment variables; without
        # redirects, so that only addresses in the file are called.
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
            reason = ", ".join(failed) or "the message could not be sent"
            # `sent`: some recipients may have the message, even one whose answer was lost.
            text = f"not every recipient tagged {tag!r} was notified: {reason}"
            raise MessengerError(text, sent=bool(result.results))

    def announce(
        self, tags: Sequence[str], title: str, text: str, reached: Collection[str]
    ) -> Delivery:
        """Send to the recipients, if any, with any of the tags, except those in `reached`."""
        waiting = apprise.Apprise(asset=self._apprise.asset)
        for recipient in self._apprise.find(tag=list(tags)):
            if _identity(recipient) not in reached:
                waiting.add(recipient)
        if not len(waiting):
            return Delivery()
        result = waiting.notify(
            body=text,
            title=title,
            notify_type=apprise.NotifyType.INFO,
            body_format=apprise.NotifyFormat.TEXT,
            timeout=self._timeout_s,
        )
        failures = [_failure(attempt) for attempt in result.results if not attempt]
        if not result and not failures:
            failures = ["the message could not be sent"]
        reached_now = (attempt.url_id or attempt.url for attempt in result.results if attempt)
        return Delivery(reached=frozenset(reached_now), failures=", ".join(failures))

    def _read(self, path: Path, asset: apprise.AppriseAsset) -> None:
        try:
            path.read_bytes()
        except OSError as error:
            raise NotifyFileError(f"{path}: {error.strerror}") from None
        log, warnings = logging.getLogger("apprise"), _WarningCounter()
        log.propagate = False
        log.setLevel(logging.WARNING)
        # Silenced: it logs the path of each request, which is a webhook's secret.
        logging.getLogger("urllib3").setLevel(logging.WARNING)
        log.addHandler(warnings)
        try:
            config = apprise.AppriseConfig(asset=asset, recursion=1)
            # A name with a character that is special in an address must be quoted.
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


def _identity(recipient: Any) -> str:
    """The recipient's name as in `NotifyResult`, without the secrets of its address."""
    return str(recipient.url_id() or recipient.url(privacy=True))


def _failure(result: apprise.NotifyResult) -> str:
    """The service's name and HTTP status; the rest of its log may contain secrets."""
    codes = [match[1] for entry in result.logs() if (match := _STATUS.search(entry.message))]
    status = f"answered {codes[-1]}" if codes else result.status.name.lower()
    return f"{result.name} {status}"
