"""The tables of `actions.tables` and `receiver.db.tables`, with first rows and audit triggers."""

import sqlalchemy as sa
from alembic import op

revision = "state_0001"
down_revision = None

_SQLITE = (
    """
    CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'an audit record cannot be changed'); END
    """,
    """
    CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
    WHEN OLD.seq > COALESCE((SELECT pruned FROM audit_head), 0)
    BEGIN SELECT RAISE(ABORT, 'an audit record cannot be removed'); END
    """,
    """
    CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit
    WHEN EXISTS (SELECT 1 FROM audit WHERE seq = NEW.seq)
    BEGIN SELECT RAISE(ABORT, 'an audit record cannot be changed'); END
    """,
)
_POSTGRESQL = (
    """
    CREATE FUNCTION audit_keep() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF TG_OP = 'DELETE' THEN
        IF OLD.seq <= COALESCE((SELECT pruned FROM audit_head), 0) THEN RETURN OLD; END IF;
        RAISE EXCEPTION 'an audit record cannot be removed';
      END IF;
      IF TG_OP = 'TRUNCATE' THEN RAISE EXCEPTION 'an audit record cannot be removed'; END IF;
      RAISE EXCEPTION 'an audit record cannot be changed';
    END $$
    """,
    """
    CREATE TRIGGER audit_keep_rows BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION audit_keep()
    """,
    """
    CREATE TRIGGER audit_keep_table BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_keep()
    """,
)


def upgrade() -> None:
    op.create_table(
        "armings",
        sa.Column("playbook", sa.String(length=128), nullable=False),
        sa.Column("service", sa.String(length=255), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("canary_percent", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("by", sa.String(length=200), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("figures", sa.Text(), nullable=False),
        sa.Column("despite", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("playbook", "service", name=op.f("pk_armings")),
    )
    op.create_table(
        "attempts",
        sa.Column("run_id", sa.String(length=26), nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("target", sa.String(length=255), nullable=False),
        sa.Column("group_name", sa.String(length=255), nullable=False),
        sa.Column("playbook", sa.String(length=128), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "step", name=op.f("pk_attempts")),
    )
    op.create_index(op.f("ix_attempts_group_name_at"), "attempts", ["group_name", "at"])
    op.create_index(op.f("ix_attempts_playbook_at"), "attempts", ["playbook", "at"])
    op.create_index(op.f("ix_attempts_target_at"), "attempts", ["target", "at"])
    op.create_table(
        "audit",
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("event", sa.String(length=64), nullable=False),
        sa.Column("run_id", sa.String(length=26), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_run_id"), "audit", ["run_id"])
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("pruned", sa.BigInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_head_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )
    op.create_table(
        "breakers",
        sa.Column("playbook", sa.String(length=128), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("opened_at", sa.Double(), nullable=True),
        sa.Column("probe", sa.String(length=26), nullable=True),
        sa.PrimaryKeyConstraint("playbook", name=op.f("pk_breakers")),
    )
    op.create_table(
        "claims",
        sa.Column("target", sa.String(length=255), nullable=False),
        sa.Column("run_id", sa.String(length=26), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("claimed_at", sa.Double(), nullable=False),
        sa.Column("cooldown_until", sa.Double(), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("target", name=op.f("pk_claims")),
    )
    op.create_table(
        "followers",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_followers")),
    )
    op.create_table(
        "intents",
        sa.Column("run_id", sa.String(length=26), nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("target", sa.String(length=255), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("made", sa.Text(), nullable=False),
        sa.Column("undoes", sa.Integer(), nullable=True),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("stage", sa.String(length=16), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("dispatched_at", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("run_id", "step", name=op.f("pk_intents")),
    )
    op.create_index(op.f("ix_intents_target"), "intents", ["target"])
    op.create_table(
        "leadership",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("holder", sa.String(length=128), nullable=False),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_leadership_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_leadership")),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("same_as", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("reached", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.Double(), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("sent_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_index("ix_outbox_sent_at", "outbox", ["sent_at"])
    op.create_table(
        "overrides",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("matchers", sa.Text(), nullable=False),
        sa.Column("effect", sa.String(length=16), nullable=False),
        sa.Column("starts_at", sa.Double(), nullable=False),
        sa.Column("ends_at", sa.Double(), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_overrides")),
    )
    op.create_index("ix_overrides_ends_at", "overrides", ["ends_at"])
    op.create_table(
        "reservations",
        sa.Column("run_id", sa.String(length=26), nullable=False),
        sa.Column("target", sa.String(length=255), nullable=False),
        sa.Column("scope", sa.String(length=512), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "target", "scope", name=op.f("pk_reservations")),
    )
    op.create_index(op.f("ix_reservations_scope"), "reservations", ["scope"])
    op.create_table(
        "runs",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("refusal", sa.String(length=64), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("annotations", sa.Text(), nullable=False),
        sa.Column("malformed", sa.Text(), nullable=True),
        sa.Column("starts_at", sa.Double(), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("lane", sa.String(length=255), nullable=False),
        sa.Column("target", sa.String(length=255), nullable=True),
        sa.Column("group_name", sa.String(length=255), nullable=True),
        sa.Column("playbook", sa.String(length=128), nullable=True),
        sa.Column("plan", sa.Text(), nullable=True),
        sa.Column("playbook_digest", sa.String(length=64), nullable=True),
        sa.Column("approval", sa.Text(), nullable=True),
        sa.Column("approved", sa.Boolean(), nullable=True),
        sa.Column("approvals", sa.Text(), server_default="[]", nullable=False),
        sa.Column("ending", sa.Text(), nullable=True),
        sa.Column("request", sa.Text(), nullable=True),
        sa.Column("dry_run", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.Column("mark", sa.Text(), nullable=True),
        sa.Column("marked_right", sa.Boolean(), nullable=True),
        sa.Column("caused_by", sa.String(length=26), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("gates", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=True),
        sa.Column("steps_begun", sa.Integer(), nullable=False),
        sa.Column("next_rung", sa.Integer(), nullable=False),
        sa.Column("phase", sa.String(length=128), nullable=True),
        sa.Column("recovered_since", sa.Double(), nullable=True),
        sa.Column("verify_until", sa.Double(), nullable=True),
        sa.Column("decided_at", sa.Double(), nullable=True),
        sa.Column("next_act_at", sa.Double(), nullable=True),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    op.create_index("ix_runs_caused_by", "runs", ["caused_by"])
    op.create_index("ix_runs_group_name_received_at", "runs", ["group_name", "received_at"])
    op.create_index("ix_runs_lane_state", "runs", ["lane", "state"])
    order = [*map(sa.text, ("state", "priority", "received_at desc", "lane"))]
    op.create_index("ix_runs_pending", "runs", order)
    op.create_index("ix_runs_playbook", "runs", ["playbook", "playbook_digest"])
    answered = sa.text("approved IS NOT NULL OR marked_right IS NOT NULL")
    op.create_index(
        "ix_runs_feedback", "runs", ["id"], sqlite_where=answered, postgresql_where=answered
    )
    op.create_index("ix_runs_received_at", "runs", ["received_at"])
    op.create_index("ix_runs_target", "runs", ["target"])
    op.create_table(
        "seen_requests",
        sa.Column("signature", sa.String(length=128), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("signature", name=op.f("pk_seen_requests")),
    )
    op.create_index("ix_seen_requests_at", "seen_requests", ["at"])
    op.create_table(
        "sessions",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_sessions")),
    )
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    op.create_table(
        "switch",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("paused", sa.Boolean(), nullable=False),
        sa.Column("everything", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("distrusted", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("changed_by", sa.String(length=200), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_switch_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_switch")),
    )
    _insert_first_rows()
    postgresql = op.get_bind().dialect.name == "postgresql"
    for statement in _POSTGRESQL if postgresql else _SQLITE:
        op.execute(statement)


def _insert_first_rows() -> None:
    """The tables of one row: the chain's head, the kill switch and the lease."""
    op.execute(
        "INSERT INTO audit_head (id, seq, hash) "
        "VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000')"
    )
    op.execute(
        "INSERT INTO switch (id, paused, comment, changed_by, changed_at) "
        "VALUES (1, false, 'as installed', 'smartcloudops', 0)"
    )
    op.execute("INSERT INTO leadership (id, holder, term, until) VALUES (1, '', 0, 0)")
