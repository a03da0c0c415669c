"""The kill switch can stop rollbacks and escalations as well."""

import sqlalchemy as sa
from alembic import op

revision = "state_0002"
down_revision = "state_0001"


def upgrade() -> None:
    op.add_column(
        "switch",
        sa.Column("everything", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
