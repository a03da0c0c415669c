"""Subscriptions to topics of Amazon SNS that wait for a person."""

import sqlalchemy as sa
from alembic import op

revision = "state_0005"
down_revision = "state_0004"


def upgrade() -> None:
    op.create_table(
        "sns_subscriptions",
        sa.Column("id", sa.String(length=100), nullable=False),
        sa.Column("topic", sa.String(length=320), nullable=False),
        sa.Column("token", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sns_subscriptions")),
    )
