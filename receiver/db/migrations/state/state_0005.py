"""Who of several receivers acts, and what is decided on next without a look at all that waits."""

import sqlalchemy as sa
from alembic import op

revision = "state_0005"
down_revision = "state_0004"


def upgrade() -> None:
    leadership = op.create_table(
        "leadership",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("holder", sa.String(length=128), nullable=False),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_leadership_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_leadership")),
    )
    op.drop_index("ix_runs_state_priority_received_at", "runs")
    order = [*map(sa.text, ("state", "priority", "received_at desc", "lane"))]
    op.create_index("ix_runs_pending", "runs", order)
    op.create_index("ix_runs_lane_state", "runs", ["lane", "state"])
    op.bulk_insert(leadership, [{"id": 1, "holder": "", "term": 0, "until": 0.0}])
