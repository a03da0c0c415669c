"""Tables of the receiver: runs, overrides, armings, subscriptions, outbox, lease and people.

A run has one row for each episode of an alert; its steps and audit records are in `actions.tables`.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    String,
    Table,
    Text,
    false,
    or_,
    text,
)

from actions.tables import Json, Prose, metadata, place_columns

runs = Table(
    "runs",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("state", String(24), nullable=False),
    Column("refusal", String(64)),
    Column("outcome", Prose),
    Column("fingerprint", Json, nullable=False),
    Column("labels", Json, nullable=False),
    Column("annotations", Json, nullable=False),
    Column("malformed", Text),
    Column("starts_at", Double, nullable=False),
    Column("received_at", Double, nullable=False),
    Column("priority", Integer, nullable=False),
    # Runs of one lane are decided one at a time.
    Column("lane", String(255), nullable=False),
    Column("target", String(255)),
    Column("group_name", String(255)),
    Column("playbook", String(128)),
    Column("plan", Json),
    # The digest of the playbook of the plan.
    Column("playbook_digest", String(64)),
    # A person's last answer on a plan of the run, and whether it was an approval.
    Column("approval", Json),
    Column("approved", Boolean),
    # Each person's approval of the waiting or executed plan.
    Column("approvals", Json, nullable=False, server_default="[]"),
    # The final state, kept until rollback and escalation are done.
    Column("ending", Json),
    # The request of a manual run: the person, the way and the reason. Null for an alert's run.
    Column("request", Json),
    Column("dry_run", Boolean, nullable=False, server_default=false()),
    # A person's feedback on the ended run, and whether it was right.
    Column("mark", Json),
    Column("marked_right", Boolean),
    Column("acknowledged", Json),
    # The run whose action caused this alert.
    Column("caused_by", String(26)),
    # The run whose alert shows that the recovery did not last.
    Column("relapsed_by", String(26)),
    # The arm of the playbook's hold-out that the run is in; null where it takes no part.
    Column("holdout", Json),
    Column("verdict", Json),
    Column("gates", Json, nullable=False),
    Column("evidence", Json),
    # Progress on the ladder: the number of steps begun, and the least rung of the next step.
    Column("steps_begun", Integer, nullable=False),
    Column("next_rung", Integer, nullable=False),
    # The durable queue's workflow of the current phase; if they differ, this row is authoritative.
    Column("phase", String(128)),
    Column("recovered_since", Double),
    Column("verify_until", Double),
    Column("decided_at", Double),
    Column("next_act_at", Double),
    Column("updated_at", Double, nullable=False),
    Column("ended_at", Double),
    # Where the target is; null until a decision found it.
    Column("account", String(12)),
    Column("region", String(32)),
    # Finds the next run to decide without reading the rows of busy lanes.
    Index("ix_runs_pending", "state", "priority", text("received_at desc"), "lane"),
    Index("ix_runs_lane_state", "lane", "state"),
    Index("ix_runs_target", "target"),
    Index("ix_runs_group_name_received_at", "group_name", "received_at"),
    Index("ix_runs_caused_by", "caused_by"),
    Index("ix_runs_playbook", "playbook", "playbook_digest"),
    # These two answer lists and counts without the rows, which have the evidence.
    Index("ix_runs_received_at", "received_at", "state", "refusal", "group_name", "id"),
    Index(
        "ix_runs_listed",
        "id",
        *("state", "refusal", "group_name", "target", "playbook", "account", "region"),
        "received_at",
    ),
)
# What finds a run: the name and severity of its alert, and lines in small letters.
run_search = Table(
    "run_search",
    metadata,
    Column("run_id", String(26), primary_key=True),
    Column("alertname", String(200), nullable=False),
    Column("severity", String(200), nullable=False),
    Column("text", Text, nullable=False),
)
# What people did about the alert of a run that did nothing, by CloudTrail.
comparisons = Table(
    "comparisons",
    metadata,
    Column("run_id", String(26), primary_key=True),
    Column("agreement", String(16), nullable=False),
    # What people did, as the catalogue names it; null where they did nothing that it has.
    Column("action", String(64)),
    Column("calls", Json, nullable=False),
    # When the fault was over, null while it goes on; in epoch seconds, as the time of comparing.
    Column("over_at", Double),
    Column("at", Double, nullable=False),
)
# A person approved, denied or marked the run.
has_feedback = or_(runs.c.approved.is_not(None), runs.c.marked_right.is_not(None))
Index("ix_runs_feedback", runs.c.id, sqlite_where=has_feedback, postgresql_where=has_feedback)

overrides = Table(
    "overrides",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("matchers", Json, nullable=False),
    Column("effect", String(16), nullable=False),
    Column("starts_at", Double, nullable=False),
    Column("ends_at", Double, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("comment", Text, nullable=False),
    # The times at which it recurs; empty is at all times.
    Column("time_intervals", Json, nullable=False, server_default="[]"),
    Index("ix_overrides_ends_at", "ends_at"),
)

# Armings of a playbook in one place: for one service, or, under an empty name, for all others.
armings = Table(
    "armings",
    metadata,
    *place_columns(key=True),
    Column("playbook", String(128), primary_key=True),
    Column("service", String(255), primary_key=True),
    Column("mode", String(16), nullable=False),
    Column("canary_percent", Integer, nullable=False),
    # Digest of the playbook when it was armed; a changed playbook is not armed.
    Column("digest", String(64), nullable=False),
    Column("by", String(200), nullable=False),
    Column("comment", Text, nullable=False),
    Column("at", Double, nullable=False),
    # Time at which the arming reached this mode.
    Column("since", Double, nullable=False),
    # Criteria that were met, and criteria that were overruled.
    Column("figures", Json, nullable=False),
    Column("despite", Json, nullable=False),
)

# Position of each audit tail: the last record that it has handled.
followers = Table(
    "followers",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("seq", BigInteger, nullable=False),
)

# Messages to people. A sent message stays for a day, so that equal ones are recognised; a `held`
# message waits for the summary.
outbox = Table(
    "outbox",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("created_at", Double, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("same_as", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("text", Text, nullable=False),
    # Recipients that have the message.
    Column("reached", Json, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Double, nullable=False),
    Column("held", Boolean, nullable=False),
    Column("sent_at", Double),
    Index("ix_outbox_sent_at", "sent_at"),
)

# Signatures of accepted requests; the same signature again is a replay.
seen_requests = Table(
    "seen_requests",
    metadata,
    Column("signature", String(128), primary_key=True),
    Column("at", Double, nullable=False),
    Index("ix_seen_requests_at", "at"),
)

# Topics of Amazon SNS that wait for a person to confirm their subscription.
sns_subscriptions = Table(
    "sns_subscriptions",
    metadata,
    Column("id", String(100), primary_key=True),
    Column("topic", String(320), nullable=False),
    Column("token", Text, nullable=False),
    Column("at", Double, nullable=False),
)

# One row: the leader's lease, its term, and its expiry by the database's clock.
leadership = Table(
    "leadership",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("holder", String(128), nullable=False),
    Column("term", BigInteger, nullable=False),
    Column("until", Double, nullable=False),
    CheckConstraint("id = 1", name="one_row"),
)

# Console sessions by hash; the secrets themselves are only in the browsers' cookies.
sessions = Table(
    "sessions",
    metadata,
    Column("sha256", String(64), primary_key=True),
    # Empty for a session of the identity provider, which has a subject instead.
    Column("token_sha256", String(64), nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("name", String(200), nullable=False, server_default=""),
    Column("door", String(16), nullable=False, server_default="token"),
    Column("subject", String(64), nullable=False, server_default=""),
    Column("member_of", Json, nullable=False, server_default="[]"),
    Column("address", String(64), nullable=False, server_default=""),
    Column("opened_at", Double, nullable=False, server_default="0"),
    Index("ix_sessions_expires_at", "expires_at"),
)

# People whom the identity provider has named. The subject is a hash of issuer and `sub`; the person
# is the first name of a subject, and no other subject gets it.
people = Table(
    "people",
    metadata,
    Column("subject", String(64), primary_key=True),
    Column("person", String(128), nullable=False),
    Column("first_seen", Double, nullable=False),
    Column("last_seen", Double, nullable=False),
    # What was issued before is refused.
    Column("not_before", Double, nullable=False),
    Index("ix_people_person", "person", unique=True),
)

# What people are told as one: runs of one alert in one group (or on one target), and what they
# caused. Open until `closed_at`.
incidents = Table(
    "incidents",
    metadata,
    Column("id", String(26), primary_key=True),
    Column("alertname", String(200), nullable=False),
    # The group, or the target without one.
    Column("about", String(255), nullable=False),
    *place_columns(key=False),
    Column("opened_at", Double, nullable=False),
    Column("changed_at", Double, nullable=False),
    Column("closed_at", Double),
    Index("ix_incidents_changed_at", "changed_at"),
)
incident_runs = Table(
    "incident_runs",
    metadata,
    Column("run_id", String(26), primary_key=True),
    Column("incident_id", String(26), nullable=False),
    Index("ix_incident_runs_incident_id", "incident_id"),
)
# What happened, in order: the details in a thread.
incident_lines = Table(
    "incident_lines",
    metadata,
    Column("incident_id", String(26), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("text", Text, nullable=False),
)
# What each channel shows of an incident: the digest of the last that was sent, and the lines.
incident_posts = Table(
    "incident_posts",
    metadata,
    Column("incident_id", String(26), primary_key=True),
    Column("channel", String(64), primary_key=True),
    # The channel's name of it: a message, a ticket.
    Column("ref", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("lines", Integer, nullable=False),
    # Calls since the last that succeeded; the next is due at `next_at`.
    Column("attempts", Integer, nullable=False),
    Column("next_at", Double, nullable=False),
    # A call has begun, and its answer is not stored: it may have had its effect, or have it yet.
    Column("unsure", Boolean, nullable=False),
    # When the final state is sent once more, after what may arrive late.
    Column("settle_at", Double),
)
