"""Alerts that are decided later."""

import sqlalchemy as sa
from alembic import op

revision = "inbox_0002"
down_revision = "inbox_0001"


def upgrade() -> None:
    op.add_column("inbox_received", sa.Column("not_before", sa.Double(), nullable=True))
