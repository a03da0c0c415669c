"""Inserts new runs: for alerts of the inbox, and for people's requests."""

import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, insert, update
from ulid import ULID

from actions.audit import log
from actions.aws.groups import GROUP_NAME
from actions.aws.instances import INSTANCE_ID
from actions.place import ACCOUNT, REGION
from receiver.db.tables import runs
from receiver.evidence.target import Target
from receiver.runs.model import Run, RunRequest, State
from receiver.runs.queries import search_text
from receiver.runs.store import existing_ids, from_row, to_row
from receiver.webhook.episodes import QueuedAlert
from receiver.webhook.payload import Alert

# Alerts without a group share this many lanes of their place, because one lane would decide them
# one by one.
_LANES_WITHOUT_GROUP = 4


def insert_from_inbox(connection: Connection, queued: Sequence[QueuedAlert], now: float) -> None:
    """Insert a run with its audit record for each alert that has none yet."""
    existing = existing_ids(connection, [alert.id for alert in queued])
    new = [alert for alert in queued if alert.id not in existing]
    if not new:
        return
    rows = [_row(alert, now) for alert in new]
    connection.execute(insert(runs), rows)
    search_text.add_runs(connection, rows)
    log.append(connection, now, *(_alert_received(alert) for alert in new))


def take_fairly(queued: Sequence[QueuedAlert], most: int) -> Sequence[QueuedAlert]:
    """The alerts to take next: the most severe first, and of these one of each account in turn.

    So an alert does not wait behind all of a storm in another account.
    """
    taken = Counter[str]()
    ranks = []
    for position, alert in enumerate(queued):
        account = account_of(_lane(alert))
        ranks.append((alert.alert.priority, taken[account], position))
        taken[account] += 1
    return [queued[position] for _, _, position in sorted(ranks)[:most]]


def set_targets(connection: Connection, found: Mapping[str, Target]) -> None:
    """Store the targets, by run, of alerts whose labels alone do not tell them."""
    unknown = update(runs).where(runs.c.id == bindparam("was_id"), runs.c.target.is_(None))
    rows = [
        {"was_id": run_id, "target": target.id, "group_name": target.group, **target.placing}
        for run_id, target in found.items()
    ]
    connection.execute(unknown, rows)
    search_text.add_changes(connection, {str(row["was_id"]): row for row in rows})


def preview(queued: QueuedAlert, now: float) -> Run:
    """The run that an alert would become."""
    return _as_stored(_row(queued, now))


def insert_manual(
    connection: Connection,
    request: RunRequest,
    labels: Mapping[str, str],
    now: float,
    *,
    not_before: float | None = None,
) -> Run:
    """Insert the run that a person requested, with its audit record.

    `labels` take the place of an alert's labels. The dispatcher does not take the run before
    `not_before` (epoch seconds).
    """
    run_id = str(ULID())
    alert = Alert(
        key="",
        fingerprint="",
        firing=True,
        labels=labels,
        annotations={},
        starts_at=now,
        ends_at=None,
    )
    row = {
        **_row(QueuedAlert(id=run_id, received_at=now, alert=alert), now),
        **to_row({"request": request}),
        "playbook": request.playbook,
        # First in order, because a person waits for it.
        "priority": 0,
        "next_act_at": not_before,
    }
    connection.execute(insert(runs).values(row))
    search_text.add_runs(connection, [row])
    event = log.Event(
        actor=request.by,
        event="run_started_by_a_person",
        run_id=run_id,
        detail={
            "comment": request.comment,
            "playbook": request.playbook,
            "dry_run": request.dry_run,
            "labels": dict(labels),
        },
    )
    log.append(connection, now, event)
    return _as_stored(row)


def _as_stored(row: Mapping[str, Any]) -> Run:
    """The run of an inserted row; its other columns are null."""
    empty = dict.fromkeys((column.name for column in runs.c), None)
    return from_row({**empty, **row})


def _row(queued: QueuedAlert, now: float) -> Mapping[str, Any]:
    alert = queued.alert
    return {
        "id": queued.id,
        "state": State.RECEIVED,
        "fingerprint": alert.fingerprint,
        "labels": alert.labels,
        "annotations": alert.annotations,
        "malformed": alert.malformed,
        "starts_at": queued.starts_at,
        "received_at": queued.received_at,
        "priority": alert.priority,
        "lane": _lane(queued),
        **target_of(alert),
        "gates": [],
        "approvals": [],
        "next_act_at": queued.not_before,
        "steps_begun": 0,
        "next_rung": 0,
        "updated_at": now,
    }


def target_of(alert: Alert) -> Mapping[str, str | None]:
    """The target and its group, if the labels alone name them."""
    instance_id, asg = alert.labels.get("instance_id", ""), alert.labels.get("asg", "")
    group = asg if GROUP_NAME.fullmatch(asg) else None
    if INSTANCE_ID.fullmatch(instance_id):
        return {"target": instance_id, "group_name": group}
    return {"target": group if not instance_id else None, "group_name": group}


def _lane(queued: QueuedAlert) -> str:
    """The group of an account and a region, or one of the lanes that alerts without a group share.

    The runs of a lane are decided in sequence. Which labels tell the place is the mapping's matter;
    here a value that looks like one will do, because a lane only orders.
    """
    labels = queued.alert.labels
    asg = labels.get("asg", "")
    # Another form of text may contain characters that PostgreSQL cannot store.
    group = asg if GROUP_NAME.fullmatch(asg) else ""
    own = group or f"#{zlib.crc32(queued.id.encode()) % _LANES_WITHOUT_GROUP}"
    values = [labels[name] for name in sorted(labels)]
    account = next(filter(ACCOUNT.fullmatch, values), "")
    region = next(filter(REGION.fullmatch, values), "")
    return (f"{account}/{region}/{own}" if account else own)[:255]


def account_of(lane: str) -> str:
    """The account that the lane is of; empty where its alerts tell none."""
    account = lane.partition("/")[0]
    return account if ACCOUNT.fullmatch(account) else ""


def _alert_received(queued: QueuedAlert) -> log.Event:
    alert = {key: value for key, value in vars(queued.alert).items() if value is not None}
    return log.Event(
        actor="alertmanager",
        event="alert_received",
        run_id=queued.id,
        detail={"received_at": queued.received_at, **alert},
    )
