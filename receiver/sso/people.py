"""People whom the identity provider has named.

Only issuer and `sub` are stable and unique; a name or an address may be changed, and given to
somebody else (OpenID Connect Core, 5.7). So the first name of a subject stays that person's, and no
other subject gets it.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from actions.audit import log
from receiver.db.database import Database
from receiver.db.tables import people, sessions
from receiver.http.access.auth import JwtRefusedError

_NAME = re.compile(r"[a-z0-9._@+-]{1,64}")
# `last_seen` is as exact as this.
_SEEN_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class People:
    database: Database
    clock: Callable[[], float]

    def identify(self, issuer: str, sub: str, name: object, issued_at: float) -> tuple[str, str]:
        """The subject and the person of a checked JWT. Raises JwtRefusedError."""
        subject = hashlib.sha256(f"{issuer}\0{sub}".encode()).hexdigest()
        with self.database.read() as connection:
            row = connection.execute(
                select(people).where(people.c.subject == subject)
            ).one_or_none()
        now = self.clock()
        if row is None:
            return subject, self._add(subject, name, now)
        if issued_at < row.not_before:
            raise JwtRefusedError("an admin has ended what was issued before")
        if now - row.last_seen >= _SEEN_S:
            with self.database.write() as connection:
                seen = update(people).where(people.c.subject == subject).values(last_seen=now)
                connection.execute(seen)
        return subject, row.person

    def _add(self, subject: str, name: object, now: float) -> str:
        person = name.lower() if isinstance(name, str) else ""
        if not _NAME.fullmatch(person):
            raise JwtRefusedError("it has no usable name of a person")
        row = {
            "subject": subject,
            "person": person,
            "first_seen": now,
            "last_seen": now,
            "not_before": 0.0,
        }
        event = log.Event(actor=person, event="person_known", detail={"subject": subject[:16]})
        try:
            with self.database.write() as connection:
                connection.execute(insert(people).values(row))
                log.append(connection, now, event)
        except IntegrityError:
            return self._after_a_conflict(subject)
        return person

    def _after_a_conflict(self, subject: str) -> str:
        """Somebody else added the subject at the same time, or another one has the name."""
        query = select(people.c.person).where(people.c.subject == subject)
        with self.database.read() as connection:
            person = connection.execute(query).scalar_one_or_none()
        if person is None:
            raise JwtRefusedError("its name belongs to another subject of the identity provider")
        return str(person)

    def end_sessions(self, person: str, by: str, comment: str | None) -> bool:
        """End all sessions of a person, and refuse JWTs issued until now. Whether it is known."""
        now = self.clock()
        with self.database.write() as connection:
            of_person = people.c.person == person
            known = connection.execute(update(people).where(of_person).values(not_before=now))
            ended = connection.execute(delete(sessions).where(sessions.c.name == person))
            found = bool(known.rowcount or ended.rowcount)
            if found:
                detail = {"person": person, "sessions": ended.rowcount, "comment": comment}
                event = log.Event(actor=by, event="sessions_ended", detail=detail)
                log.append(connection, now, event)
        return found


def is_known(connection: Connection, person: str) -> bool:
    """Whether the identity provider has named this person."""
    query = select(people.c.subject).where(people.c.person == person)
    return connection.execute(query).one_or_none() is not None
