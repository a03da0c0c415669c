"""The result of a step, and the cause of one that never ran."""

import sqlalchemy as sa
from alembic import op

revision = "state_0002"
down_revision = "state_0001"


def upgrade() -> None:
    op.add_column("intents", sa.Column("result", sa.String(length=16), nullable=True))
    op.add_column("intents", sa.Column("cause", sa.String(length=16), nullable=True))
