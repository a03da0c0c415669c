"""The most severe of what waits comes first."""

import sqlalchemy as sa
from alembic import op

revision = "inbox_0002"
down_revision = "inbox_0001"


def upgrade() -> None:
    least = sa.Column("priority", sa.Integer(), nullable=False, server_default="2")
    op.add_column("inbox_received", least)
    op.create_index("ix_inbox_received_priority_id", "inbox_received", ["priority", "id"])
