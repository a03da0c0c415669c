"""A narrow table by which runs are found, and indices that answer a list without their rows."""

import json

import sqlalchemy as sa
from alembic import op

revision = "state_0008"
down_revision = "state_0007"

_BATCH = 1000


def upgrade() -> None:
    op.create_table(
        "run_search",
        sa.Column("run_id", sa.String(length=26), nullable=False),
        sa.Column("alertname", sa.String(length=200), nullable=False),
        sa.Column("severity", sa.String(length=200), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_run_search")),
    )
    op.drop_index("ix_runs_received_at", table_name="runs")
    op.create_index(
        "ix_runs_received_at", "runs", ["received_at", "state", "refusal", "group_name", "id"]
    )
    op.create_index(
        "ix_runs_listed",
        "runs",
        [
            "id",
            "state",
            "refusal",
            "group_name",
            "target",
            "playbook",
            "account",
            "region",
            "received_at",
        ],
    )
    _fill()


def _fill() -> None:
    names = ("id", "labels", "target", "group_name", "playbook", "refusal")
    runs = sa.table("runs", *map(sa.column, names))
    search = sa.table("run_search", *map(sa.column, ("run_id", "alertname", "severity", "text")))
    connection, last = op.get_bind(), ""
    while True:
        query = sa.select(*(runs.c[name] for name in names)).where(runs.c.id > last)
        rows = connection.execute(query.order_by(runs.c.id).limit(_BATCH)).all()
        if not rows:
            return
        filled = [_row(*row) for row in rows]
        connection.execute(search.insert(), filled)
        last = rows[-1][0]


def _row(run_id: str, labels: str, *words: str | None) -> dict[str, str]:
    read = json.loads(labels)
    values = [run_id, *read.values(), *(word for word in words if word)]
    lines = dict.fromkeys(_plain(str(value)).lower()[:200] for value in values)
    return {
        "run_id": run_id,
        "alertname": _plain(read.get("alertname", ""))[:200],
        "severity": _plain(read.get("severity", ""))[:200],
        "text": "".join(f"{line}\n" for line in lines if line)[:4000],
    }


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)
