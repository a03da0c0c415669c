"""Tables of the executor and the audit: kill switch, claims, intents, debts, audit chain.

Times are epoch seconds, UTC.
"""

import json
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    Connection,
    Dialect,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    and_,
    bindparam,
    false,
)
from sqlalchemy.dialects import postgresql, sqlite

from actions.canonical_json import canonical
from actions.place import Place
from actions.step_key import StepKey


class Json(TypeDecorator[Any]):
    """Any value as canonical JSON text, exactly as it was hashed; null is SQL's NULL.

    The reader of a row validates the value.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        del dialect
        return None if value is None else canonical(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        del dialect
        return None if value is None else json.loads(value)


class Prose(TypeDecorator[str]):
    """Text that may quote an alert or AWS, with U+FFFD for NUL, which PostgreSQL cannot store."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        del dialect
        return None if value is None else value.replace("\0", "\N{REPLACEMENT CHARACTER}")


class StepNumber(TypeDecorator[StepKey]):
    """The key of a step, as its number. Raises ValueError for a number that no step has."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: StepKey | None, dialect: Dialect) -> int | None:
        del dialect
        return None if value is None else value.number

    def process_result_value(self, value: int | None, dialect: Dialect) -> StepKey | None:
        del dialect
        return None if value is None else StepKey.parse(value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def place_columns(*, key: bool = False) -> tuple[Column[str], Column[str]]:
    """The account and region of a target: names are unique only within one place."""
    return (
        Column("account", String(12), primary_key=key, nullable=False, server_default=""),
        Column("region", String(32), primary_key=key, nullable=False, server_default=""),
    )


def is_at(table: Table, place: Place) -> ColumnElement[bool]:
    """Whether a row is of this place."""
    return and_(table.c.account == place.account, table.c.region == place.region)


def is_at_given(table: Table) -> ColumnElement[bool]:
    """As `is_at`, for a statement that is built once: the parameters are `vars(place)`."""
    return and_(table.c.account == bindparam("account"), table.c.region == bindparam("region"))


# One row: the kill switch. A missing row is unknown, and unknown counts as paused.
switch = Table(
    "switch",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("paused", Boolean, nullable=False),
    # Whether an admin's pause also stops rollbacks and escalations.
    Column("everything", Boolean, nullable=False, server_default=false()),
    # The service paused itself because its records cannot be trusted; only an admin resumes.
    Column("distrusted", Boolean, nullable=False, server_default=false()),
    Column("comment", Text, nullable=False),
    Column("changed_by", String(200), nullable=False),
    Column("changed_at", Double, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

# Pauses of one account, of one region, or of a region of an account; empty means every one.
pauses = Table(
    "pauses",
    metadata,
    *place_columns(key=True),
    Column("comment", Text, nullable=False),
    Column("changed_by", String(200), nullable=False),
    Column("changed_at", Double, nullable=False),
)

# The right to act on a target, and its cooldown: the only place where a cooldown lives.
claims = Table(
    "claims",
    metadata,
    *place_columns(key=True),
    Column("target", String(255), primary_key=True),
    Column("run_id", String(26), nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("claimed_at", Double, nullable=False),
    Column("cooldown_until", Double, nullable=False),
    # While held, no other run may claim the target, however old the claim is.
    Column("held", Boolean, nullable=False),
)

# Instances that a run may take out of service, by scope; removed when its hold ends.
reservations = Table(
    "reservations",
    metadata,
    *place_columns(),
    Column("run_id", String(26), primary_key=True),
    Column("target", String(255), primary_key=True),
    Column("scope", String(512), primary_key=True),
    Index(None, "scope"),
)

# Every claimed step that counts towards the rate limits.
attempts = Table(
    "attempts",
    metadata,
    Column("run_id", String(26), primary_key=True),
    Column("step", StepNumber, primary_key=True, autoincrement=False),
    Column("target", String(255), nullable=False),
    Column("group_name", String(255), nullable=False),
    Column("playbook", String(128), nullable=False),
    Column("at", Double, nullable=False),
    *place_columns(),
    Index(None, "target", "at"),
    Index(None, "group_name", "at"),
    Index(None, "playbook", "at"),
)

# A playbook's failures in a row, in one place; `probe` is the trial run of a half-open breaker.
breakers = Table(
    "breakers",
    metadata,
    *place_columns(key=True),
    Column("playbook", String(128), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("opened_at", Double),
    Column("probe", String(26)),
)

# The write-ahead ledger: one row for each step. `undoes` is the step that this one reverses.
intents = Table(
    "intents",
    metadata,
    Column("run_id", String(26), primary_key=True),
    Column("step", StepNumber, primary_key=True, autoincrement=False),
    Column("action", String(64), nullable=False),
    Column("target", String(255), nullable=False),
    Column("params", Json, nullable=False),
    Column("before", Json, nullable=False),
    Column("made", Json, nullable=False),
    Column("undoes", StepNumber),
    Column("fence", BigInteger, nullable=False),
    Column("stage", String(16), nullable=False),
    Column("outcome", String(16)),
    Column("error", Prose),
    Column("started_at", Double, nullable=False),
    Column("dispatched_at", Double),
    Column("ended_at", Double),
    Column("result", String(16)),
    Column("cause", String(16)),
    *place_columns(),
    Index(None, "target"),
)

# What a step lent, until AWS shows that it is given back. The step in `intents` says what that is.
debts = Table(
    "debts",
    metadata,
    Column("run_id", String(26), primary_key=True),
    Column("step", StepNumber, primary_key=True, autoincrement=False),
    Column("action", String(64), nullable=False),
    Column("target", String(255), nullable=False),
    Column("since", Double, nullable=False),
    # The end of the run; until then the run itself gives back.
    Column("ended_at", Double),
    Column("next_at", Double),
    Column("attempts", Integer, nullable=False),
    Column("problem", Prose),
    # AWS will not have it given back without harm, or the action is no longer known.
    Column("needs_person", Boolean, nullable=False),
    *place_columns(),
    Index(None, "next_at"),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("actor", String(200), nullable=False),
    Column("event", String(64), nullable=False),
    Column("run_id", String(26)),
    Column("detail", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index(None, "run_id"),
)

# The chain's end, locked for each append, reveals the removal of the last records. Triggers allow
# only records up to `pruned` to be removed, and none to be changed.
audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("pruned", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("id = 1", name="one_row"),
)


def insert_into(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An insert that has `on_conflict_do_update` and `on_conflict_do_nothing`."""
    return insert_for(connection.dialect.name, table)


def insert_for(dialect: str, table: Table) -> sqlite.Insert | postgresql.Insert:
    """As `insert_into`, for a statement that is built once for each dialect."""
    if dialect == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)
