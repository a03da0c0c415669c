"""People of the identity provider, and what is listed of their sessions."""

import sqlalchemy as sa
from alembic import op

revision = "state_0012"
down_revision = "state_0011"


def upgrade() -> None:
    for name, kind, default in (
        ("name", sa.String(length=200), ""),
        ("door", sa.String(length=16), "token"),
        ("subject", sa.String(length=64), ""),
        ("member_of", sa.Text(), "[]"),
        ("address", sa.String(length=64), ""),
        ("opened_at", sa.Double(), "0"),
    ):
        op.add_column("sessions", sa.Column(name, kind, nullable=False, server_default=default))
    op.create_table(
        "people",
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=128), nullable=False),
        sa.Column("first_seen", sa.Double(), nullable=False),
        sa.Column("last_seen", sa.Double(), nullable=False),
        sa.Column("not_before", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_people")),
    )
    op.create_index("ix_people_person", "people", ["person"], unique=True)
