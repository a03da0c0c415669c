"""That a person is on what a run has not remedied."""

import sqlalchemy as sa
from alembic import op

revision = "state_0007"
down_revision = "state_0006"


def upgrade() -> None:
    op.add_column("runs", sa.Column("acknowledged", sa.Text(), nullable=True))
