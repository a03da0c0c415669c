"""What an effect needs to have on record: the switch, the claims, the intents and the audit chain.

Times are epoch seconds, UTC. JSON is kept as text, so that what was hashed is what is stored.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# One row: the kill switch. No row is unknown, and unknown counts as paused.
switch = Table(
    "switch",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("paused", Boolean, nullable=False),
    Column("comment", Text, nullable=False),
    Column("changed_by", String(200), nullable=False),
    Column("changed_at", Double, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

# The right to act on a target, and its cooldown: the only place where a cooldown lives.
claims = Table(
    "claims",
    metadata,
    Column("target", String(255), primary_key=True),
    Column("run_id", String(26), nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("claimed_at", Double, nullable=False),
    Column("cooldown_until", Double, nullable=False),
    # While held, no other run may take it, however long ago it was claimed.
    Column("held", Boolean, nullable=False),
)

# Instances that a run may take out of service, by the scope that counts them; gone with its hold.
reservations = Table(
    "reservations",
    metadata,
    Column("run_id", String(26), primary_key=True),
    Column("target", String(255), primary_key=True),
    Column("scope", String(512), primary_key=True),
    Index(None, "scope"),
)

# Every step that was claimed and that counts towards a rate limit.
attempts = Table(
    "attempts",
    metadata,
    Column("run_id", String(26), primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("target", String(255), nullable=False),
    Column("group_name", String(255), nullable=False),
    Column("playbook", String(128), nullable=False),
    Column("at", Double, nullable=False),
    Index(None, "target", "at"),
    Index(None, "group_name", "at"),
    Index(None, "playbook", "at"),
)

# A playbook's failures in a row; `probe` is the run that a half-open breaker lets through.
breakers = Table(
    "breakers",
    metadata,
    Column("playbook", String(128), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("opened_at", Double),
    Column("probe", String(26)),
)

# The write-ahead ledger: one row a step of a run. `undoes` is the step that this one takes back.
intents = Table(
    "intents",
    metadata,
    Column("run_id", String(26), primary_key=True),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("action", String(64), nullable=False),
    Column("target", String(255), nullable=False),
    Column("params", Text, nullable=False),
    Column("before", Text, nullable=False),
    Column("made", Text, nullable=False, server_default="{}"),
    Column("undoes", Integer),
    Column("fence", BigInteger, nullable=False),
    Column("stage", String(16), nullable=False),
    Column("outcome", String(16)),
    Column("error", Text),
    Column("started_at", Double, nullable=False),
    Column("dispatched_at", Double),
    Column("ended_at", Double),
    Index(None, "target"),
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

# The chain's end, locked by whoever appends; a record cut off the end is missed here. Records up
# to `pruned` may be removed, no other: triggers see to it, and that none is ever changed.
audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("pruned", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("id = 1", name="one_row"),
)
