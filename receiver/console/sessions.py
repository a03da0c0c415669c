"""Sessions of logged-in people. A session ends with its token, which each request checks."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from actions.audit import log
from receiver.db.database import Database
from receiver.db.tables import sessions
from receiver.http.access.tokens import Token, Tokens

LIFETIME_S = 12 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Sessions:
    """Stored in the database, so that they survive a restart and are valid on every replica."""

    database: Database
    tokens: Tokens
    clock: Callable[[], float]

    def open(self, token: Token) -> str:
        """The secret of a new session. Only its hash is stored."""
        secret, now = secrets.token_urlsafe(32), self.clock()
        row = {
            "sha256": _digest(secret),
            "token_sha256": token.sha256,
            "expires_at": now + LIFETIME_S,
        }
        with self.database.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.expires_at <= now))
            connection.execute(insert(sessions).values(row))
            log.append(connection, now, log.Event(actor=token.name, event="console_login"))
        return secret

    def find_token(self, secret: str) -> Token | None:
        """The session's token; None if the session or the token has expired, or was revoked."""
        query = select(sessions.c.token_sha256).where(
            sessions.c.sha256 == _digest(secret), sessions.c.expires_at > self.clock()
        )
        with self.database.read() as connection:
            digest = connection.execute(query).scalar_one_or_none()
        if digest is None:
            return None
        self.tokens.refresh()
        return self.tokens.by_digest(digest)

    def close(self, secret: str, token: Token) -> None:
        with self.database.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.sha256 == _digest(secret)))
            event = log.Event(actor=token.name, event="console_logout")
            log.append(connection, self.clock(), event)

    def record_failure(self, address: str, request_id: str) -> None:
        """Add a failed login to the audit, without any part of the submitted token."""
        detail = {"address": address, "request_id": request_id}
        event = log.Event(actor="nobody", event="console_login_failed", detail=detail)
        with self.database.write() as connection:
            log.append(connection, self.clock(), event)


def csrf_token(secret: str) -> str:
    """The value that a form must contain; only the cookie's secret yields it."""
    return hashlib.sha256(f"csrf:{secret}".encode()).hexdigest()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
