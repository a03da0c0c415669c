"""The later run whose alert shows that a recovery did not last."""

import sqlalchemy as sa
from alembic import op

revision = "state_0004"
down_revision = "state_0003"


def upgrade() -> None:
    op.add_column("runs", sa.Column("relapsed_by", sa.String(length=26), nullable=True))
