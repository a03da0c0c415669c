"""The account and region of targets: names are unique only within one place.

What is on record has the empty place, the service's own; with a file of accounts it becomes that of
the file, before anything acts.
"""

import sqlalchemy as sa
from alembic import op

revision = "state_0006"
down_revision = "state_0005"

_KEYS = {
    "claims": ["target"],
    "breakers": ["playbook"],
    "armings": ["playbook", "service"],
}


def upgrade() -> None:
    for table in ("reservations", "attempts", "intents", "debts"):
        for column in _columns():
            op.add_column(table, column)
    for table, key in _KEYS.items():
        with op.batch_alter_table(table, recreate="auto") as batch:
            for column in _columns():
                batch.add_column(column)
            batch.drop_constraint(f"pk_{table}", type_="primary")
            batch.create_primary_key(f"pk_{table}", ["account", "region", *key])
    for column in _columns(empty=None):
        op.add_column("runs", column)
    runs = sa.table("runs", *map(sa.column, ("account", "region", "decided_at")))
    op.execute(runs.update().where(runs.c.decided_at.is_not(None)).values(account="", region=""))
    op.create_table(
        "pauses",
        *_columns(),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("changed_by", sa.String(length=200), nullable=False),
        sa.Column("changed_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("account", "region", name=op.f("pk_pauses")),
    )


def _columns(empty: str | None = "") -> tuple[sa.Column[str], sa.Column[str]]:
    return (
        sa.Column("account", sa.String(12), nullable=empty is None, server_default=empty),
        sa.Column("region", sa.String(32), nullable=empty is None, server_default=empty),
    )
