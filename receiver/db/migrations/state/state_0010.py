"""What people did about the alerts of runs that did nothing."""

import sqlalchemy as sa
from alembic import op

revision = "state_0010"
down_revision = "state_0009"


def upgrade() -> None:
    op.create_table(
        "comparisons",
        sa.Column("run_id", sa.String(length=26), nullable=False),
        sa.Column("agreement", sa.String(length=16), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=True),
        sa.Column("calls", sa.Text(), nullable=False),
        sa.Column("over_at", sa.Double(), nullable=True),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_comparisons")),
    )
