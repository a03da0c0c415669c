"""Subscriptions to topics of Amazon SNS, each of which a person confirms.

SNS sends a token to the address that somebody subscribed, and nothing more until that token comes
back. Source: Amazon SNS API Reference, ConfirmSubscription (without AuthenticateOnUnsubscribe the
call is unsigned), and Subscribe (a token is valid for two days).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from actions.audit import log
from receiver.db.database import Database
from receiver.db.tables import sns_subscriptions as table
from receiver.runtime.rfc3339 import DAY_S
from receiver.webhook.sns.message import SnsMessage

_VALID_S = 2 * DAY_S


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """A subscription that waits; `at` is when SNS asked, in epoch seconds."""

    id: str
    topic: str
    token: str
    at: float


@dataclass(frozen=True, kw_only=True)
class Subscriptions:
    """`confirm` takes a topic's ARN and SNS's token to AWS, and returns the subscription's ARN."""

    database: Database
    confirm: Callable[[str, str], str]
    clock: Callable[[], float]

    def record(self, message: SnsMessage) -> None:
        """Keep a verified confirmation for a person; SNS may send it again."""
        now = self.clock()
        with self.database.write() as connection:
            connection.execute(delete(table).where(table.c.at < now - _VALID_S))
            if _find(connection, message.id) is not None:
                return
            row = {"id": message.id, "topic": message.topic, "token": message.token, "at": now}
            connection.execute(insert(table).values(row))
            detail = {"topic": message.topic, "subscription": message.id}
            log.append(
                connection,
                now,
                log.Event(actor="sns", event="sns_subscription_requested", detail=detail),
            )

    def list_waiting(self) -> Sequence[Subscription]:
        """Those whose token is still valid, oldest first."""
        valid = table.c.at >= self.clock() - _VALID_S
        with self.database.read() as connection:
            rows = connection.execute(select(table).where(valid).order_by(table.c.at)).mappings()
            return [Subscription(**row) for row in rows]

    def confirm_by(self, subscription_id: str, *, by: str, comment: str) -> Subscription | None:
        """Confirm it at AWS, and on record; None if there is none.

        Raises AWS's errors; the subscription then still waits.
        """
        with self.database.read() as connection:
            row = _find(connection, subscription_id)
        if row is None:
            return None
        waiting = Subscription(**row)
        arn = self.confirm(waiting.topic, waiting.token)
        detail = {"topic": waiting.topic, "subscription_arn": arn, "comment": comment}
        event = log.Event(actor=by, event="sns_subscription_confirmed", detail=detail)
        with self.database.write() as connection:
            connection.execute(delete(table).where(table.c.id == subscription_id))
            log.append(connection, self.clock(), event)
        return waiting


def _find(connection: Connection, subscription_id: str) -> Any:
    query = select(table).where(table.c.id == subscription_id)
    return connection.execute(query).mappings().one_or_none()
