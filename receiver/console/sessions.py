"""Who is logged in. A session lives no longer than its token, which is looked at each time."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from actions.audit import log
from receiver.db.database import Database
from receiver.db.tables import sessions
from receiver.http.tokens import Token, Tokens

LASTS_S = 12 * 3600.0


@dataclass(frozen=True, kw_only=True)
class Sessions:
    """Kept in the database, so that a restart or another replica logs nobody out."""

    database: Database
    tokens: Tokens
    clock: Callable[[], float]

    def open(self, token: Token) -> str:
        """The secret of a new session, for the browser alone."""
        secret, now = secrets.token_urlsafe(32), self.clock()
        row = {
            "sha256": _digest(secret),
            "token_sha256": token.sha256,
            "expires_at": now + LASTS_S,
        }
        with self.database.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.expires_at <= now))
            connection.execute(insert(sessions).values(row))
            log.append(connection, now, log.Event(actor=token.name, event="console_login"))
        return secret

    def of(self, secret: str) -> Token | None:
        """Whose session this is; None once it, or the token that opened it, is over."""
        query = select(sessions.c.token_sha256).where(
            sessions.c.sha256 == _digest(secret), sessions.c.expires_at > self.clock()
        )
        with self.database.read() as connection:
            found = connection.execute(query).scalar_one_or_none()
        if found is None:
            return None
        self.tokens.look()
        return self.tokens.by_digest(found)

    def close(self, secret: str, token: Token) -> None:
        with self.database.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.sha256 == _digest(secret)))
            event = log.Event(actor=token.name, event="console_logout")
            log.append(connection, self.clock(), event)

    def failed(self, address: str, request_id: str) -> None:
        """Keep a login that failed; nothing of what was given as a token."""
        detail = {"address": address, "request_id": request_id}
        event = log.Event(actor="nobody", event="console_login_failed", detail=detail)
        with self.database.write() as connection:
            log.append(connection, self.clock(), event)


def csrf(secret: str) -> str:
    """What a form must bring along to be the page's own: only its cookie's holder can know it."""
    return hashlib.sha256(f"csrf:{secret}".encode()).hexdigest()


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
