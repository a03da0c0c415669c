"""Sessions of logged-in people.

A session ends with its token, which each request checks; one of the identity provider rests on the
groups at the login, whose roles each request reads.
"""

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import RowMapping, delete, insert, select

from actions.audit import log
from receiver.db.database import Database
from receiver.db.tables import people, sessions
from receiver.http.access.callers import Caller, Door, Grant
from receiver.http.access.tokens import Tokens

LIFETIME_S = 12 * 3600.0
# What is listed of the hash: nobody finds the secret by it.
_ID_CHARS = 24


@dataclass(frozen=True, kw_only=True)
class Session:
    """One session as people see it; `name` is in the audit."""

    id: str
    name: str
    door: Door
    address: str
    opened_at: float
    expires_at: float


@dataclass(frozen=True, kw_only=True)
class Sessions:
    """Stored in the database, so that they survive a restart and are valid on every replica.

    `grants_of` are the roles of the identity provider's groups; None without a provider.
    """

    database: Database
    tokens: Tokens
    clock: Callable[[], float]
    grants_of: Callable[[Sequence[str]], Sequence[Grant]] | None = None

    def open(self, who: Caller, address: str) -> str:
        """The secret of a new session. Only its hash is stored."""
        secret, now = secrets.token_urlsafe(32), self.clock()
        row = {
            "sha256": _digest(secret),
            "token_sha256": who.token_sha256,
            "name": who.name,
            "door": str(who.door),
            "subject": who.subject,
            "member_of": list(who.groups),
            "address": address[:64],
            "opened_at": now,
            "expires_at": now + LIFETIME_S,
        }
        detail = {"door": str(who.door), "session": session_id(secret)}
        with self.database.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.expires_at <= now))
            connection.execute(insert(sessions).values(row))
            event = log.Event(actor=who.name, event="console_login", detail=detail)
            log.append(connection, now, event)
        return secret

    def find_caller(self, secret: str) -> Caller | None:
        """Whose session it is; None if the session, its token or its roles have ended."""
        query = select(sessions).where(
            sessions.c.sha256 == _digest(secret), sessions.c.expires_at > self.clock()
        )
        with self.database.read() as connection:
            row = connection.execute(query).mappings().one_or_none()
            person = None
            if row is not None and row["subject"]:
                wanted = select(people.c.person).where(people.c.subject == row["subject"])
                person = connection.execute(wanted).scalar_one_or_none()
        if row is None:
            return None
        if row["subject"]:
            return self._by_provider(row, person)
        self.tokens.refresh()
        token = self.tokens.by_digest(row["token_sha256"])
        return token.caller if token else None

    def _by_provider(self, row: RowMapping, person: str | None) -> Caller | None:
        if self.grants_of is None or person is None:
            return None
        grants = self.grants_of(row["member_of"])
        if not grants:
            return None
        return Caller(
            name=person,
            person=person,
            door=Door.SSO,
            grants=grants,
            subject=row["subject"],
            groups=row["member_of"],
        )

    def close(self, secret: str, who: Caller) -> None:
        with self.database.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.sha256 == _digest(secret)))
            event = log.Event(actor=who.name, event="console_logout")
            log.append(connection, self.clock(), event)

    def list_open(self, *, name: str | None = None) -> Sequence[Session]:
        """The open sessions, newest first; with a `name`, only those of this name."""
        query = select(sessions).where(sessions.c.expires_at > self.clock())
        if name is not None:
            query = query.where(sessions.c.name == name)
        with self.database.read() as connection:
            rows = connection.execute(query.order_by(sessions.c.opened_at.desc())).mappings().all()
        return [
            Session(
                id=row["sha256"][:_ID_CHARS],
                name=row["name"],
                door=Door(row["door"]),
                address=row["address"],
                opened_at=row["opened_at"],
                expires_at=row["expires_at"],
            )
            for row in rows
        ]

    def end(self, session_id: str, by: str, comment: str | None, *, name: str | None) -> bool:
        """End a session; with a `name`, only one of this name. Whether there was one."""
        wanted = [session for session in self.list_open(name=name) if session.id == session_id]
        for session in wanted:
            detail = {"session": session.id, "name": session.name, "comment": comment}
            event = log.Event(actor=by, event="session_ended", detail=detail)
            with self.database.write() as connection:
                of_id = sessions.c.sha256.startswith(session.id)
                connection.execute(delete(sessions).where(of_id))
                log.append(connection, self.clock(), event)
        return bool(wanted)

    def record_failure(self, address: str, request_id: str) -> None:
        """Add a failed login to the audit, without any part of the submitted token."""
        detail = {"address": address, "request_id": request_id}
        event = log.Event(actor="nobody", event="console_login_failed", detail=detail)
        with self.database.write() as connection:
            log.append(connection, self.clock(), event)


def csrf_token(secret: str) -> str:
    """The value that a form must contain; only the cookie's secret yields it."""
    return hashlib.sha256(f"csrf:{secret}".encode()).hexdigest()


def session_id(secret: str) -> str:
    """The id of the session with this secret."""
    return _digest(secret)[:_ID_CHARS]


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
