"""Remembers signed requests in the database, so that every replica refuses a replay."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from receiver.db.database import Database
from receiver.db.tables import seen_requests

# Longer than any signature is accepted: SNS delivers a message again for up to an hour.
_KEPT_S = 7200.0


class SeenBeforeError(Exception):
    """The request was accepted before."""


@dataclass(frozen=True)
class SeenRequests:
    """Requests by their `signature`, a text of at most 128 characters that no other request has."""

    database: Database
    clock: Callable[[], float]

    def has(self, signature: str) -> bool:
        query = select(seen_requests.c.at).where(seen_requests.c.signature == signature)
        with self.database.read() as connection:
            return connection.execute(query).one_or_none() is not None

    def add(self, signature: str) -> None:
        """Raises SeenBeforeError."""
        now = self.clock()
        try:
            with self.database.write() as connection:
                connection.execute(delete(seen_requests).where(seen_requests.c.at < now - _KEPT_S))
                connection.execute(insert(seen_requests).values(signature=signature, at=now))
        except IntegrityError:
            raise SeenBeforeError from None
