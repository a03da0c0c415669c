"""Runs that people ask for, and what they say of runs afterwards."""

import sqlalchemy as sa
from alembic import op

revision = "state_0003"
down_revision = "state_0002"


def upgrade() -> None:
    op.add_column("runs", sa.Column("asked", sa.Text(), nullable=True))
    op.add_column("runs", sa.Column("mark", sa.Text(), nullable=True))
