"""The runs: one row an alert's episode, with all that explains it but its steps and audit.

Beside them the overrides and armings that people set, and who of several receivers acts.
"""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    String,
    Table,
    Text,
    text,
)

from actions.tables import metadata

runs = Table(
    "runs",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("state", String(24), nullable=False),
    Column("refusal", String(64)),
    Column("outcome", Text),
    Column("fingerprint", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("annotations", Text, nullable=False),
    Column("odd", Text),
    Column("starts_at", Double, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("priority", Integer, nullable=False),
    # Runs of one lane are decided on one after the other.
    Column("lane", String(255), nullable=False),
    Column("target", String(255)),
    Column("group_name", String(255)),
    Column("playbook", String(128)),
    Column("plan", Text),
    # A person's yes to this very plan.
    Column("approval", Text),
    # How the run is to end once what must be undone, or told, is done.
    Column("ending", Text),
    # Who asked for it, how and why, where no alert did.
    Column("asked", Text),
    # What a person said of it afterwards: right or wrong.
    Column("mark", Text),
    # The run whose own act brought this alert about.
    Column("caused_by", String(26)),
    Column("verdict", Text),
    Column("gates", Text, nullable=False),
    Column("evidence", Text),
    # The step it is at: how many were begun, and the rung of the ladder that the next one needs.
    Column("steps_begun", Integer, nullable=False),
    Column("next_rung", Integer, nullable=False),
    # The engine's workflow that carries the run now; the row is the truth, the workflow is not.
    Column("phase", String(128)),
    Column("recovered_since", Double),
    Column("verify_until", Double),
    Column("decided_at", Double),
    Column("next_act_at", Double),
    Column("updated_at", Double, nullable=False),
    Column("ended_at", Double),
    # What is decided on next, without a look at the rows of lanes that are busy.
    Index("ix_runs_pending", "state", "priority", text("received_at desc"), "lane"),
    Index("ix_runs_lane_state", "lane", "state"),
    Index("ix_runs_target", "target"),
    Index("ix_runs_group_name_received_at", "group_name", "received_at"),
    Index("ix_runs_caused_by", "caused_by"),
    Index("ix_runs_playbook", "playbook"),
    Index("ix_runs_received_at", "received_at"),
)

overrides = Table(
    "overrides",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("matchers", Text, nullable=False),
    Column("effect", String(16), nullable=False),
    Column("starts_at", Double, nullable=False),
    Column("ends_at", Double, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("comment", Text, nullable=False),
    Index("ix_overrides_ends_at", "ends_at"),
)

# How far people let a playbook go: for a service, or, under an empty name, for all others.
armings = Table(
    "armings",
    metadata,
    Column("playbook", String(128), primary_key=True),
    Column("service", String(255), primary_key=True),
    Column("mode", String(16), nullable=False),
    Column("canary_percent", Integer, nullable=False),
    # Of the playbook as it was then: another one is not armed.
    Column("digest", String(64), nullable=False),
    Column("by", String(200), nullable=False),
    Column("comment", Text, nullable=False),
    Column("at", Double, nullable=False),
    # When it reached this mode.
    Column("since", Double, nullable=False),
    # What justified it, and what spoke against it.
    Column("figures", Text, nullable=False),
    Column("despite", Text, nullable=False),
)

# How far each of those who read the audit as it grows has come.
followers = Table(
    "followers",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("seq", BigInteger, nullable=False),
)

# Signed requests that were taken; one that comes again within their time is a replay.
seen_requests = Table(
    "seen_requests",
    metadata,
    Column("signature", String(128), primary_key=True),
    Column("at", Double, nullable=False),
    Index("ix_seen_requests_at", "at"),
)

# One row: who leads, since which term, until when by the database's clock.
leadership = Table(
    "leadership",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("holder", String(128), nullable=False),
    Column("term", BigInteger, nullable=False),
    Column("until", Double, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

# Who is logged in to the console; the secrets themselves are only in the browsers' cookies.
sessions = Table(
    "sessions",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("token_sha256", String(64), nullable=False),
    Column("expires_at", Double, nullable=False),
    Index("ix_sessions_expires_at", "expires_at"),
)
