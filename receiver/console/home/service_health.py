"""Whether the service itself is well: a line for each thing that it needs."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import func, select

from receiver.api.parts import Parts
from receiver.db.tables import leadership, outbox
from receiver.evidence.prometheus.answers import PrometheusError
from receiver.runtime.rfc3339 import rfc3339
from receiver.webhook.episodes import episodes

_PROMETHEUS_TIMEOUT_S = 2.0
# A queue that is worked off does not hold this many alerts for long.
_BACKLOG = 1000


@dataclass(frozen=True, kw_only=True)
class Line:
    """One thing; `tone` is a class of the stylesheet, `link` a page; `at` comes before the text."""

    name: str
    tone: str
    text: str
    at: str | None = None
    link: str


def read_health(parts: Parts) -> list[Line]:
    """Ask Prometheus, and read what the service knows of everything else."""
    checks = parts.checks()
    return [
        _delivery(parts),
        *_prometheus(parts),
        *_aws(parts, checks["aws"]),
        _model(parts),
        _leader(parts),
        _notifications(parts),
        *_own(checks),
    ]


def _delivery(parts: Parts) -> Line:
    with parts.inbox.database.read() as connection:
        last = connection.execute(select(func.max(episodes.c.last_seen_at))).scalar()
    backlog = parts.inbox.count_queued()
    waiting = f"{backlog} alert{'' if backlog == 1 else 's'} not decided yet"
    tone = "wait" if backlog >= _BACKLOG or last is None else "good"
    if last is None:
        return Line(name="Alerts", tone=tone, text="no delivery yet", link="/runs")
    link = "/runs?state=received" if backlog else "/runs"
    return Line(name="Last alert", tone=tone, text=f"; {waiting}", at=rfc3339(last), link=link)


def _prometheus(parts: Parts) -> Iterator[Line]:
    servers = parts.prometheus.each
    for number, server in enumerate(servers, 1):
        name = "Prometheus" if len(servers) == 1 else f"Prometheus {number}"
        try:
            server.instant_query("vector(1)", at=parts.clock(), timeout_s=_PROMETHEUS_TIMEOUT_S)
        except PrometheusError as error:
            yield Line(name=name, tone="bad", text=str(error), link="/model")
        else:
            yield Line(name=name, tone="good", text="answers", link="/model")


def _aws(parts: Parts, answer: str) -> Iterator[Line]:
    if not any(place.account for place in parts.places):
        text, tone = ("answers", "good") if answer == "ok" else (answer, "bad")
        yield Line(name="AWS", tone=tone, text=text, link="/controls")
        return
    for place in parts.places:
        error = parts.unusable.get(place)
        link = f"/runs?account={place.account}&region={place.region}"
        tone = "bad" if error else "good"
        yield Line(name=f"AWS {place}", tone=tone, text=error or "answers", link=link)


def _model(parts: Parts) -> Line:
    loaded = parts.model_server.loaded
    if loaded.active is None:
        text = f"none: every verdict is undecided. {loaded.problem or ''}"
        return Line(name="Model", tone="bad", text=text, link="/model")
    return Line(name="Model", tone="good", text=loaded.active.version, link="/model")


def _leader(parts: Parts) -> Line:
    if parts.leadership.leading:
        return Line(name="Leader", tone="good", text="this process acts", link="/audit")
    with parts.database.read() as connection:
        holder = connection.scalar(select(leadership.c.holder))
    tone = "good" if holder else "bad"
    return Line(name="Leader", tone=tone, text=holder or "nobody acts", link="/audit")


def _notifications(parts: Parts) -> Line:
    if parts.settings.notify_file is None:
        text = "no recipient is set: only this console tells"
        return Line(name="Notifications", tone="wait", text=text, link="/audit")
    unsent = select(func.count(), func.min(outbox.c.created_at)).where(
        outbox.c.sent_at.is_(None), outbox.c.attempts > 0
    )
    with parts.database.read() as connection:
        count, oldest = connection.execute(unsent).one()
    if not count:
        return Line(name="Notifications", tone="good", text="all sent", link="/audit")
    text = f": the oldest of {count} that are not delivered"
    return Line(name="Notifications", tone="bad", text=text, at=rfc3339(oldest), link="/audit")


def _own(checks: dict[str, str]) -> Iterator[Line]:
    names = {"database": "Database", "inbox": "Inbox", "dispatcher": "Decisions"}
    for check, name in names.items():
        if checks[check] != "ok":
            yield Line(name=name, tone="bad", text=checks[check], link="/audit")
    records = checks["records"]
    if records == "ok":
        yield Line(name="Records", tone="good", text="complete; verify", link="/audit?verify=1")
    else:
        yield Line(name="Records", tone="bad", text=records, link="/audit?verify=1")
