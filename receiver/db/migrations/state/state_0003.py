"""What runs have lent and not given back yet."""

import sqlalchemy as sa
from alembic import op

revision = "state_0003"
down_revision = "state_0002"


def upgrade() -> None:
    op.create_table(
        "debts",
        sa.Column("run_id", sa.String(length=26), nullable=False),
        sa.Column("step", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("target", sa.String(length=255), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("next_at", sa.Double(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("needs_person", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "step", name=op.f("pk_debts")),
    )
    op.create_index("ix_debts_next_at", "debts", ["next_at"])
