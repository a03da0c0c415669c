"""What runs are about, for the roles that extend to some services, playbooks or accounts only."""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, select

from receiver.db.tables import runs
from receiver.http.access.callers import Subject
from receiver.runs.model import Run


def subjects_of(run: Run) -> Sequence[Subject]:
    """The run's alert and its plan: a role must extend to both."""
    groups = {run.group_name, run.plan.group if run.plan else run.group_name}
    return [
        Subject(account=run.account, service=group or None, playbook=run.playbook)
        for group in groups
    ]


def subjects_by_run(connection: Connection, run_ids: Collection[str]) -> Mapping[str, Subject]:
    """The subjects of the alerts of these runs."""
    columns = (runs.c.id, runs.c.account, runs.c.group_name, runs.c.playbook)
    rows = connection.execute(select(*columns).where(runs.c.id.in_(run_ids)))
    return {
        row.id: Subject(account=row.account, service=row.group_name, playbook=row.playbook)
        for row in rows
    }
