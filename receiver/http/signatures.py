"""Requests that are signed with a shared secret, and taken once.

The scheme is Slack's: `v0=` and the HMAC-SHA256 of `v0:TIMESTAMP:BODY`.
https://docs.slack.dev/authentication/verifying-requests-from-slack
"""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, insert
from sqlalchemy.exc import IntegrityError

from receiver.db.database import Database
from receiver.db.tables import seen_requests

_VERSION = "v0"
WINDOW_S = 300.0
_TIMESTAMP_MOST = 12


class SignatureError(Exception):
    """The request is not to be believed; the text says why, for the log."""


class SecretFileError(Exception):
    """The file of a secret cannot be used; the text names it and quotes nothing of it."""


def secret_of(path: Path) -> str:
    """The secret that a file holds. Raises SecretFileError, also where it is empty."""
    try:
        secret = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SecretFileError(f"{path}: {getattr(error, 'strerror', None) or 'no text'}") from None
    if not secret:
        raise SecretFileError(f"{path}: it is empty")
    return secret


def sign(secret: str, timestamp: str, body: bytes) -> str:
    said = f"{_VERSION}:{timestamp}:".encode() + body
    return f"{_VERSION}={hmac.new(secret.encode(), said, hashlib.sha256).hexdigest()}"


@dataclass(frozen=True, kw_only=True)
class Signatures:
    """Requests whose secret is in `file`, which is read for each, so that it can be changed."""

    file: Path
    database: Database
    clock: Callable[[], float]

    def check(self, timestamp: str, signature: str, body: bytes) -> None:
        """Once for each request. Raises SignatureError or SecretFileError."""
        now = self.clock()
        if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > _TIMESTAMP_MOST:
            raise SignatureError("there is no timestamp")
        expected = sign(secret_of(self.file), timestamp, body)
        if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")):
            raise SignatureError("the signature is wrong")
        if abs(now - int(timestamp)) > WINDOW_S:
            raise SignatureError("the timestamp is too far from now")
        self._take(expected, now)

    def _take(self, signature: str, now: float) -> None:
        """On record, so that a replay is known after a restart and to every replica."""
        try:
            with self.database.write() as connection:
                old = seen_requests.c.at < now - 2 * WINDOW_S
                connection.execute(delete(seen_requests).where(old))
                row = insert(seen_requests).values(signature=signature, at=now)
                connection.execute(row)
        except IntegrityError:
            raise SignatureError("the request came before") from None
