"""Verifies requests that are signed with a shared secret, and accepts each once.

The scheme is Slack's: `v0=` and the HMAC-SHA256 of `v0:TIMESTAMP:BODY`.
https://docs.slack.dev/authentication/verifying-requests-from-slack
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from receiver.db.database import Database
from receiver.http.access.seen_requests import SeenBeforeError, SeenRequests

_VERSION = "v0"
WINDOW_S = 300.0
_TIMESTAMP_MAX = 12


class SignatureError(Exception):
    """The signature is invalid; the text has the reason, for the log."""


class SecretFileError(Exception):
    """A secret's file cannot be used; the text has its path and none of its content."""


def read_secret(path: Path) -> str:
    """The secret in a file. Raises SecretFileError, also for an empty file."""
    try:
        secret = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SecretFileError(f"{path}: {getattr(error, 'strerror', None) or 'no text'}") from None
    if not secret:
        raise SecretFileError(f"{path}: the file is empty")
    return secret


def sign(secret: str, timestamp: str, body: bytes) -> str:
    signed = f"{_VERSION}:{timestamp}:".encode() + body
    return f"{_VERSION}={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


@dataclass(frozen=True, kw_only=True)
class Signatures:
    """Checks signatures with the secret in `file`, read for each request so that it can change."""

    file: Path
    database: Database
    clock: Callable[[], float]

    def check(self, timestamp: str, signature: str, body: bytes) -> None:
        """Accept the request once. Raises SignatureError or SecretFileError."""
        now = self.clock()
        if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > _TIMESTAMP_MAX:
            raise SignatureError("the request has no valid timestamp")
        expected = sign(read_secret(self.file), timestamp, body)
        if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")):
            raise SignatureError("the signature is wrong")
        if abs(now - int(timestamp)) > WINDOW_S:
            raise SignatureError("the timestamp is too far from now")
        try:
            SeenRequests(self.database, self.clock).add(expected)
        except SeenBeforeError:
            raise SignatureError("the request was received before") from None
