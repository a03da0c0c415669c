"""A delivery that waits for its receipt: its effect on episodes, and its answer."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace

import structlog
from ulid import ULID

from receiver.webhook.episodes import Episode, QueuedAlert
from receiver.webhook.payload import Alert

_log = structlog.get_logger()
_APART_S = 0.2


class InboxUnavailableError(Exception):
    """The alerts could not be stored; the sender must send them again."""


@dataclass(frozen=True, kw_only=True)
class Receipt:
    accepted: int = 0
    duplicates: int = 0
    resolved: int = 0


Answer = Receipt | InboxUnavailableError
_Waiter = Future[Receipt] | asyncio.Future[Receipt]


@dataclass
class Pace:
    """When alerts that were put off are decided again, because a window's end is one for all.

    Of each severity one, `_APART_S` after the one before; a restart forgets who came before.
    """

    _next: dict[int, float] = field(default_factory=dict, init=False)

    def take(self, alert: Alert, now: float) -> float | None:
        """The next free time, or None where it is now."""
        at = max(now, self._next.get(alert.priority, 0.0))
        self._next[alert.priority] = at + _APART_S
        return at if at > now else None


@dataclass(frozen=True)
class Delivery:
    alerts: Sequence[Alert]
    at: float
    request_id: str
    receipt: _Waiter


def apply(
    delivery: Delivery,
    current: dict[str, Episode],
    opened: list[QueuedAlert],
    gap_s: float,
    pace: Pace,
) -> Receipt:
    """Update `current` episodes, by key, and add the alerts that opened some to `opened`.

    `gap_s` is the silence in seconds that closes an episode. Alerts that were put off take their
    time from `pace`.
    """
    accepted = duplicates = resolved = 0
    for alert in delivery.alerts:
        episode = current.get(alert.key)
        starts_at = alert.starts_at
        if starts_at is None:
            # Without a startsAt, the alert counts as a repeat of its open episode.
            starts_at = delivery.at if episode is None else episode.starts_at
        new = episode is None or episode.closed(starts_at, delivery.at, gap_s)
        if not alert.firing:
            resolved += 1
            # A resolved copy older than the newest firing copy comes late, from another
            # Alertmanager.
            if episode and (alert.ends_at is None or alert.ends_at >= episode.starts_at):
                current[alert.key] = replace(episode, resolved_at=delivery.at)
        elif episode is not None and not new:
            duplicates += 1
            current[alert.key] = replace(
                episode,
                starts_at=max(episode.starts_at, starts_at),
                last_seen_at=delivery.at,
                repeats=episode.repeats + 1,
                resolved_at=None,
            )
        else:
            accepted += 1
            put_off = episode is not None and episode.is_put_off(starts_at)
            queued = QueuedAlert(
                id=str(ULID()),
                received_at=delivery.at,
                alert=alert,
                not_before=pace.take(alert, delivery.at) if put_off else None,
            )
            opened.append(queued)
            current[alert.key] = Episode(
                key=alert.key,
                run_id=queued.id,
                starts_at=queued.starts_at,
                last_seen_at=delivery.at,
            )
    return Receipt(accepted=accepted, duplicates=duplicates, resolved=resolved)


def answer(deliveries: Sequence[Delivery], answers: Iterable[Answer]) -> None:
    """Give each sender its answer.

    Senders on one event loop get their answers together, because one wake-up of the loop costs as
    much as storing a delivery.
    """
    loops: defaultdict[asyncio.AbstractEventLoop, list[tuple[_Waiter, Answer]]] = defaultdict(list)
    for delivery, its_answer in zip(deliveries, answers, strict=True):
        receipt = delivery.receipt
        if isinstance(receipt, asyncio.Future):
            loops[receipt.get_loop()].append((receipt, its_answer))
        elif receipt.set_running_or_notify_cancel():
            _resolve([(receipt, its_answer)])
    for loop, answers_of_loop in loops.items():
        # The loop, and its senders, may have ended meanwhile.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_resolve, answers_of_loop)


def refuse(deliveries: Sequence[Delivery], reason: str) -> None:
    answer(deliveries, [InboxUnavailableError(f"not stored: {reason}") for _ in deliveries])


def log_stored(deliveries: Sequence[Delivery], receipts: Sequence[Receipt]) -> None:
    """Log one line for each transaction, because one for each delivery would cost too much."""
    if not deliveries:
        return
    _log.info(
        "deliveries_stored",
        request_ids=[delivery.request_id for delivery in deliveries if delivery.request_id],
        accepted=sum(receipt.accepted for receipt in receipts),
        duplicates=sum(receipt.duplicates for receipt in receipts),
        resolved=sum(receipt.resolved for receipt in receipts),
    )


def _resolve(answers: Sequence[tuple[_Waiter, Answer]]) -> None:
    for receipt, its_answer in answers:
        # A sender that disconnected has cancelled its future; its alerts are stored anyway.
        if receipt.done():
            continue
        if isinstance(its_answer, Receipt):
            receipt.set_result(its_answer)
        else:
            receipt.set_exception(its_answer)
