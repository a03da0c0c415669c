"""Which arm of its playbook's hold-out a run is in, and since when."""

import sqlalchemy as sa
from alembic import op

revision = "state_0011"
down_revision = "state_0010"


def upgrade() -> None:
    op.add_column("runs", sa.Column("holdout", sa.Text(), nullable=True))
