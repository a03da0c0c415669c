"""The gauges that are read from the records, right before they are looked at."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import SQLAlchemyError

from actions.execution import circuit_breakers, kill_switch
from actions.tables import claims
from receiver.controls import arming
from receiver.db.database import Database
from receiver.metrics import NO_PLAYBOOK, Metrics
from receiver.runs import store
from receiver.runs.model import IN_FLIGHT, State
from receiver.settings import Mode
from receiver.webhook.inbox import Inbox


def refresh(metrics: Metrics, database: Database, inbox: Inbox, now: float) -> None:
    """Bring them up to date; what cannot be read stays, and unknown counts as paused."""
    paused = True
    with suppress(SQLAlchemyError), database.read() as connection:
        metrics.cooldowns_active.set(_cooling(connection, now))
        _breakers(metrics, connection, now)
        _armings(metrics, connection)
        _runs(metrics, store.standing(connection), now)
        paused = kill_switch.is_paused(connection)
    metrics.paused.set(int(paused))
    with suppress(SQLAlchemyError):
        metrics.inbox_backlog.set(inbox.untaken())


def _cooling(connection: Connection, now: float) -> int:
    active = claims.c.held | (claims.c.cooldown_until > now)
    return connection.execute(select(func.count()).select_from(claims).where(active)).scalar_one()


def _breakers(metrics: Metrics, connection: Connection, now: float) -> None:
    found = circuit_breakers.read_all(connection)
    for playbook in metrics.playbooks:
        breaker = found.get(playbook)
        shut = breaker is not None and breaker.why_open(None, now) is not None
        metrics.breaker_open.labels(playbook).set(int(shut))


def _armings(metrics: Metrics, connection: Connection) -> None:
    found = arming.every(connection)
    for playbook in metrics.playbooks:
        counts = Counter(one.mode for one in found.get(playbook, ()))
        for mode in Mode:
            metrics.playbook_armed.labels(playbook, mode).set(counts[mode])


def _runs(metrics: Metrics, standing: Sequence[store.Standing], now: float) -> None:
    """A playbook that is loaded no more counts as none: its name must not stay as a label."""
    open_runs: Counter[tuple[str, State]] = Counter()
    since = dict.fromkeys(IN_FLIGHT, now)
    for one in standing:
        playbook = one.playbook if one.playbook in metrics.playbooks else NO_PLAYBOOK
        open_runs[playbook, one.state] += one.count
        since[one.state] = min(since[one.state], one.since)
    for state in IN_FLIGHT:
        metrics.oldest_run.labels(state).set(now - since[state])
        for playbook in metrics.playbooks:
            metrics.runs_open.labels(playbook, state).set(open_runs[playbook, state])
    metrics.runs_in_flight.set(open_runs.total())
    waiting = sum(count for (_, at), count in open_runs.items() if at is State.AWAITING_APPROVAL)
    metrics.awaiting_approval.set(waiting)
