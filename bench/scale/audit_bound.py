"""What the audit's appends alone allow: transactions that write nothing else, one after the other.

The chain has one writer, so this is the bound of all acts together on the machine.
"""

import time

from sqlalchemy import func, select

from actions.audit import log
from actions.tables import audit_head
from bench.scale.receiver import BenchStack
from receiver.db.database import database

_SECONDS = 5.0
# Each append updates the chain's head once.
_APPENDS = select(func.pg_stat_get_tuples_updated(func.to_regclass(audit_head.name)))


def appends_so_far(stack: BenchStack) -> int:
    """The appends to the audit, as PostgreSQL counts them, about a second late."""
    own = database(stack.settings["DATABASE_URL"])
    with own.read() as connection:
        count = int(connection.execute(_APPENDS).scalar_one())
    own.engine.dispose()
    return count


def appends_per_s(stack: BenchStack) -> float:
    """Transactions a second with one record each, on disk before the next one begins."""
    own = database(stack.settings["DATABASE_URL"])
    began, count = time.perf_counter(), 0
    event = log.Event(actor="bench", event="bench_append")
    while (took := time.perf_counter() - began) < _SECONDS:
        with own.write() as connection:
            log.append(connection, time.time(), event)
        count += 1
    own.engine.dispose()
    return count / took
