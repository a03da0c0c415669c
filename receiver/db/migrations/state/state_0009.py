"""The times at which an override recurs."""

import sqlalchemy as sa
from alembic import op

revision = "state_0009"
down_revision = "state_0008"


def upgrade() -> None:
    op.add_column(
        "overrides",
        sa.Column("time_intervals", sa.Text(), nullable=False, server_default="[]"),
    )
