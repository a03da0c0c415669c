"""Incidents, and what each channel shows of them."""

import sqlalchemy as sa
from alembic import op

revision = "state_0013"
down_revision = "state_0012"


def upgrade() -> None:
    op.create_table(
        "incidents",
        sa.Column("id", sa.String(length=26), nullable=False),
        sa.Column("alertname", sa.String(length=200), nullable=False),
        sa.Column("about", sa.String(length=255), nullable=False),
        sa.Column("account", sa.String(length=12), nullable=False, server_default=""),
        sa.Column("region", sa.String(length=32), nullable=False, server_default=""),
        sa.Column("opened_at", sa.Double(), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.Column("closed_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_incidents")),
    )
    op.create_index("ix_incidents_changed_at", "incidents", ["changed_at"])
    op.create_table(
        "incident_runs",
        sa.Column("run_id", sa.String(length=26), nullable=False),
        sa.Column("incident_id", sa.String(length=26), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_incident_runs")),
    )
    op.create_index("ix_incident_runs_incident_id", "incident_runs", ["incident_id"])
    op.create_table(
        "incident_lines",
        sa.Column("incident_id", sa.String(length=26), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("incident_id", "number", name=op.f("pk_incident_lines")),
    )
    op.create_table(
        "incident_posts",
        sa.Column("incident_id", sa.String(length=26), nullable=False),
        sa.Column("channel", sa.String(length=64), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.Double(), nullable=False),
        sa.Column("unsure", sa.Boolean(), nullable=False),
        sa.Column("settle_at", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("incident_id", "channel", name=op.f("pk_incident_posts")),
    )
