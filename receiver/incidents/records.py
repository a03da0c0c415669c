"""Incidents in the database: which runs belong together, what happened, and what channels show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, or_, select, update
from ulid import ULID

from receiver.db.tables import incident_lines, incident_posts, incident_runs, incidents
from receiver.runs.model import Run
from receiver.runs.queries.unremedied import Subject

# A run that comes this soon after the end of an incident belongs to it.
REOPENED_WITHIN_S = 1800.0
_PRUNED_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True)
class Incident:
    """Times are epoch seconds; `about` is the group, or the target without one."""

    id: str
    alertname: str
    about: str
    account: str
    region: str
    opened_at: float
    changed_at: float
    closed_at: float | None

    @property
    def subject(self) -> Subject:
        return Subject(
            alertname=self.alertname, where=self.about, account=self.account, region=self.region
        )


@dataclass(frozen=True, kw_only=True)
class Line:
    number: int
    at: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Post:
    """What a channel shows. `unsure`: a call may have had its effect, or have it yet."""

    incident_id: str
    channel: str
    ref: str = ""
    digest: str = ""
    lines: int = 0
    attempts: int = 0
    next_at: float = 0.0
    unsure: bool = False
    settle_at: float | None = None


def subject_of(run: Run) -> Subject:
    return Subject(
        alertname=run.labels.get("alertname", "")[:200],
        where=run.group_name or run.target or "",
        account=run.account or "",
        region=run.region or "",
    )


def incident_of(connection: Connection, run: Run, now: float) -> str:
    """The incident of the run: that of its cause, of its like, or a new one."""
    for run_id in filter(None, (run.id, run.caused_by)):
        found = id_of_run(connection, run_id)
        if found is not None:
            break
    else:
        found = find_or_open(connection, subject_of(run), now)
    if id_of_run(connection, run.id) is None:
        connection.execute(insert(incident_runs).values(run_id=run.id, incident_id=found))
    return found


def find_or_open(connection: Connection, subject: Subject, now: float) -> str:
    """The open incident of the subject, one that closed a moment ago, or a new one."""
    fits = (
        incidents.c.alertname == subject.alertname,
        incidents.c.about == subject.where,
        incidents.c.account == subject.account,
        incidents.c.region == subject.region,
        or_(incidents.c.closed_at.is_(None), incidents.c.closed_at > now - REOPENED_WITHIN_S),
    )
    query = select(incidents.c.id).where(*fits).order_by(incidents.c.id.desc()).limit(1)
    found = connection.execute(query).scalar_one_or_none()
    if found is not None:
        return str(found)
    incident_id = str(ULID())
    row = {
        "id": incident_id,
        "alertname": subject.alertname,
        "about": subject.where,
        "account": subject.account,
        "region": subject.region,
        "opened_at": now,
        "changed_at": now,
    }
    connection.execute(insert(incidents).values(row))
    return incident_id


def add_line(connection: Connection, incident_id: str, at: float, text: str) -> None:
    of_incident = incident_lines.c.incident_id == incident_id
    last = select(func.coalesce(func.max(incident_lines.c.number), 0)).where(of_incident)
    number = connection.execute(last).scalar_one() + 1
    row = {"incident_id": incident_id, "number": number, "at": at, "text": text}
    connection.execute(insert(incident_lines).values(row))


def touch(connection: Connection, incident_id: str, now: float, *, closed: bool) -> None:
    """Say that the incident may look different from now on."""
    values = {"changed_at": now, "closed_at": now if closed else None}
    connection.execute(update(incidents).where(incidents.c.id == incident_id).values(values))


def recent(connection: Connection, since: float) -> Sequence[Incident]:
    """The open incidents, and those that changed since, oldest first."""
    columns = [incidents.c[name] for name in Incident.__dataclass_fields__]
    wanted = or_(incidents.c.closed_at.is_(None), incidents.c.changed_at >= since)
    rows = connection.execute(select(*columns).where(wanted).order_by(incidents.c.id)).mappings()
    return [Incident(**row) for row in rows]


def run_ids(connection: Connection, incident_id: str) -> Sequence[str]:
    """Newest first."""
    query = select(incident_runs.c.run_id).where(incident_runs.c.incident_id == incident_id)
    return connection.scalars(query.order_by(incident_runs.c.run_id.desc())).all()


def lines_of(connection: Connection, incident_id: str) -> Sequence[Line]:
    columns = (incident_lines.c.number, incident_lines.c.at, incident_lines.c.text)
    query = select(*columns).where(incident_lines.c.incident_id == incident_id)
    rows = connection.execute(query.order_by(incident_lines.c.number)).mappings()
    return [Line(**row) for row in rows]


def posts_of(connection: Connection, incident_id: str) -> Mapping[str, Post]:
    """By channel."""
    query = select(incident_posts).where(incident_posts.c.incident_id == incident_id)
    return {row["channel"]: Post(**row) for row in connection.execute(query).mappings()}


def store_post(connection: Connection, post: Post) -> None:
    """One process alone posts, the leader, so that nobody else stores the same."""
    key = (
        incident_posts.c.incident_id == post.incident_id,
        incident_posts.c.channel == post.channel,
    )
    if not connection.execute(update(incident_posts).where(*key).values(vars(post))).rowcount:
        connection.execute(insert(incident_posts).values(vars(post)))


def prune(connection: Connection, before: float) -> int:
    """Delete the incidents that closed before. Returns how many there were."""
    old = select(incidents.c.id).where(incidents.c.closed_at < before).limit(_PRUNED_AT_ONCE)
    ids = connection.scalars(old).all()
    for table in (incident_runs, incident_lines, incident_posts):
        connection.execute(delete(table).where(table.c.incident_id.in_(ids)))
    connection.execute(delete(incidents).where(incidents.c.id.in_(ids)))
    return len(ids)


def id_of_run(connection: Connection, run_id: str) -> str | None:
    query = select(incident_runs.c.incident_id).where(incident_runs.c.run_id == run_id)
    found: str | None = connection.execute(query).scalar_one_or_none()
    return found
