"""Reads runs together with the alerts of the inbox, which have no run yet.

An alert is shown as `received` under the id of its later run; nothing is written. Both connections
must be new snapshots. The inbox is read first: an alert gets its run before it leaves the inbox, so
an alert that leaves it in between is found among the runs.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import islice

from sqlalchemy import Connection

from receiver.http.access.callers import Subject
from receiver.runs import intake, store
from receiver.runs.model import Run, State
from receiver.runs.queries import search, search_text
from receiver.runs.queries.search import RunFilter
from receiver.webhook import episodes
from receiver.webhook.episodes import QueuedAlert

# A list reads at most this many of the newest alerts in the inbox: a filter by target parses each
# in about 10 µs.
_ALERTS_MAX = 5000
# Alerts that each further query reads.
_CHUNK = 500
_ANY = RunFilter()


def get(connection: Connection, inbox: Connection, run_id: str) -> Run | None:
    """The run, or the run that an alert of the inbox will become."""
    queued = episodes.queued_alert(inbox, run_id)
    run = store.get(connection, run_id)
    return _preview(queued) if run is None and queued is not None else run


def list_runs(
    connection: Connection,
    inbox: Connection,
    wanted: RunFilter = _ANY,
    *,
    before: str | None = None,
    limit: int = 100,
) -> Sequence[Run]:
    """As `search.list_runs`, with the alerts of the inbox."""
    queued: list[QueuedAlert] = []
    # Alerts in the inbox have no playbook and no place yet, and only the state `received`.
    if not wanted.of_decided and wanted.state in {None, State.RECEIVED}:
        queued = list(islice(_without_run(connection, inbox, wanted, before, limit), limit))
    runs = [
        *map(_preview, queued),
        *search.list_runs(connection, wanted, before=before, limit=limit),
    ]
    return sorted(runs, key=lambda run: run.id, reverse=True)[:limit]


def _without_run(
    connection: Connection, inbox: Connection, wanted: RunFilter, before: str | None, limit: int
) -> Iterator[QueuedAlert]:
    """The matching alerts without a run, newest first, among the newest `_ALERTS_MAX`."""
    size, seen = limit, 0
    while seen < _ALERTS_MAX:
        chunk = episodes.newest_queued(inbox, before=before, limit=size)
        matching = [alert for alert in chunk if _matches(alert, wanted)]
        existing = store.existing_ids(connection, [alert.id for alert in matching])
        yield from (alert for alert in matching if alert.id not in existing)
        if len(chunk) < size:
            return
        before, seen, size = chunk[-1].id, seen + size, max(size, _CHUNK)


def _matches(queued: QueuedAlert, wanted: RunFilter) -> bool:
    since, until = wanted.since or 0.0, wanted.until or math.inf
    if not since <= queued.received_at < until:
        return False
    labels, named = queued.alert.labels, intake.target_of(queued.alert)
    equal = (
        (wanted.target, named["target"]),
        (wanted.group, named["group_name"]),
        (wanted.alertname, labels.get("alertname", "")),
        (wanted.severity, labels.get("severity", "")),
    )
    if any(value not in {None, own} for value, own in equal):
        return False
    subject = Subject(service=named["group_name"])
    if wanted.scopes is not None and not any(scope.covers(subject) for scope in wanted.scopes):
        return False
    text = "\n".join((queued.id, *labels.values())).lower()
    return all(term in text for term in search_text.terms(wanted.text or ""))


def _preview(queued: QueuedAlert) -> Run:
    return intake.preview(queued, queued.received_at)
