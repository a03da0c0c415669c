"""Readers of the audit as it grows, and signed requests that were seen."""

import sqlalchemy as sa
from alembic import op

revision = "state_0004"
down_revision = "state_0003"


def upgrade() -> None:
    op.create_table(
        "followers",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_followers")),
    )
    op.create_table(
        "seen_requests",
        sa.Column("signature", sa.String(length=128), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("signature", name=op.f("pk_seen_requests")),
    )
    op.create_index("ix_seen_requests_at", "seen_requests", ["at"], unique=False)
