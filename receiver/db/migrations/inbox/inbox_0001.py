"""The tables of `receiver.webhook.episodes`."""

import sqlalchemy as sa
from alembic import op

revision = "inbox_0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "inbox_episodes",
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("run_id", sa.String(length=26), nullable=False),
        sa.Column("starts_at", sa.Double(), nullable=False),
        sa.Column("last_seen_at", sa.Double(), nullable=False),
        sa.Column("repeats", sa.Integer(), nullable=False),
        sa.Column("resolved_at", sa.Double(), nullable=True),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("reopens_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index(op.f("ix_inbox_episodes_run_id"), "inbox_episodes", ["run_id"])
    op.create_table(
        "inbox_received",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("received_at", sa.Double(), nullable=False),
        sa.Column("alert", sa.Text(), nullable=False),
        sa.Column("priority", sa.Integer(), server_default="2", nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_inbox_received_priority_id", "inbox_received", ["priority", "id"])
