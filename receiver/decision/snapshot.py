"""Reads the snapshot for a decision, from the service's own records and from AWS."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from actions.execution import (
    circuit_breakers,
    claims,
    disruption_budget,
    kill_switch,
    ledger,
    rate_limits,
)
from receiver.controls import arming, overrides, records
from receiver.db.database import Database
from receiver.decision.model import RecentAction, Snapshot
from receiver.evidence.aws_state import AwsReader
from receiver.evidence.source import Source
from receiver.evidence.target import Target
from receiver.playbooks.schema import Playbook
from receiver.runs import store
from receiver.runs.model import Approval, Run
from receiver.runtime.cache import BoundedCache
from receiver.settings import Mode, Settings
from receiver.webhook.episodes import Episode

_log = structlog.get_logger()
# Alerts of a group that started within this time belong to the same storm.
_STORM_S = 300.0
# Actions are read this far back: for this long an alert may be their consequence.
_ECHOES_S = 300.0
# If many instances of a group alert, they are counted again after this time.
_RECOUNT_AFTER_S = 1.0
# A group with this many alerting instances may be in a storm.
MANY = 3


@dataclass(frozen=True, kw_only=True)
class SnapshotReader:
    """Reads snapshots; an unreadable fact is None, never an exception.

    `resolved` returns the given runs whose alerts have resolved.
    """

    database: Database
    aws: AwsReader
    mode: Mode
    gap_s: float
    arming_required: bool
    resolved: Callable[[Sequence[str]], Collection[str]]
    # The alerting instances of a group, with the time of their read.
    _counted: BoundedCache[str, tuple[float, frozenset[str]]] = field(
        default_factory=BoundedCache, init=False
    )

    @classmethod
    def from_settings(
        cls,
        settings: Settings,
        *,
        database: Database,
        aws: AwsReader,
        resolved: Callable[[Sequence[str]], Collection[str]] = lambda _: (),
    ) -> Self:
        return cls(
            database=database,
            aws=aws,
            mode=settings.mode,
            gap_s=settings.episode_gap_s,
            arming_required=settings.arming_required,
            resolved=resolved,
        )

    def from_run(self, run: Run, target: Target, now: float) -> Snapshot:
        """The snapshot with the run's own facts; nothing is read."""
        return Snapshot(
            mode=self.mode,
            paused=None,
            resolved=None,
            last_seen_at=None,
            gap_s=self.gap_s,
            target=target.id,
            kind=target.kind,
            group=target.group,
            claims=None,
            rung=run.next_rung,
            approval=_approval(run, now),
        )

    def with_episode(self, run: Run, snapshot: Snapshot, episode: Episode | None) -> Snapshot:
        """Add the facts of the alert's episode."""
        return replace(
            snapshot, resolved=_resolved(run, episode), last_seen_at=_last_seen(run, episode)
        )

    def with_records(
        self, run: Run, snapshot: Snapshot, playbook: Playbook, now: float
    ) -> Snapshot:
        """Add the facts of the service's own records, without a read of AWS."""
        try:
            with self.database.read() as connection:
                recorded = replace(
                    _with_records(connection, snapshot, run, playbook.name, now),
                    arming=records.armed_mode(
                        arming.armings_of(connection, playbook.name),
                        snapshot.group or records.ALL,
                        playbook.digest,
                        required=self.arming_required,
                    ),
                )
                alerting = self._alerting(connection, snapshot.group or "", now)
            return replace(recorded, alerting=alerting)
        except SQLAlchemyError as error:
            _log.error("records_read_failed", run=run.id, error=type(error).__name__)
            self.aws.on_unreadable(Source.RECORDS)
            return snapshot

    def recount_alerting(self, snapshot: Snapshot, now: float) -> Snapshot:
        """Count the group's alerting instances again, as they may have become a storm."""
        self._counted.pop(snapshot.group or "", None)
        try:
            with self.database.read() as connection:
                alerting = self._alerting(connection, snapshot.group or "", now)
        except SQLAlchemyError:
            self.aws.on_unreadable(Source.RECORDS)
            return replace(snapshot, alerting=None)
        return replace(snapshot, alerting=alerting)

    def _alerting(self, connection: Connection, group: str, now: float) -> frozenset[str]:
        """The group's alerting instances; if many, cached for a second."""
        counted_at, instances = self._counted.get(group, (0.0, frozenset[str]()))
        if len(instances) >= MANY and 0 <= now - counted_at < _RECOUNT_AFTER_S:
            return instances
        alerts = store.alerting_instances(connection, group, now - _STORM_S)
        resolved = self.resolved(list(alerts))
        instances = frozenset(
            instance for run_id, instance in alerts.items() if run_id not in resolved
        )
        self._counted[group] = (now, instances)
        return instances

    def begin_with_aws(
        self, snapshot: Snapshot, playbook: Playbook, now: float
    ) -> Callable[[], Snapshot]:
        """Start the reads of AWS about the target; the returned function waits for the answers."""
        target = Target(id=snapshot.target, kind=snapshot.kind, group=snapshot.group)
        aws_state = self.aws.read_all(target, playbook.limits.bounds, now)
        return lambda: replace(snapshot, **vars(aws_state()))


def _with_records(
    connection: Connection, snapshot: Snapshot, run: Run, playbook: str, now: float
) -> Snapshot:
    names = [name for name in (snapshot.target, snapshot.group) if name]
    kill_switch_state = kill_switch.read_switch(connection)
    group = snapshot.group or ""
    attempts = {
        name: rate_limits.count(connection, target=name, group=group, playbook=playbook, now=now)
        for name in names
    }
    return replace(
        snapshot,
        paused=kill_switch_state.paused if kill_switch_state else None,
        claims=claims.claims_on(connection, *names),
        overrides=overrides.list_current(connection, now),
        attempts=attempts,
        breaker=circuit_breakers.read_breaker(connection, playbook),
        recent_actions=[
            RecentAction(
                run_id=intent.run_id,
                action=intent.action,
                target=intent.target,
                at=intent.dispatched_at,
            )
            for intent in ledger.dispatched_to(connection, names, now - _ECHOES_S)
            if intent.dispatched_at is not None
        ],
        reserved=disruption_budget.reserved_by_others(connection, run.id),
    )


def _resolved(run: Run, episode: Episode | None) -> bool | None:
    if run.request:
        return False
    return episode.resolved_at is not None if episode else None


def _last_seen(run: Run, episode: Episode | None) -> float | None:
    """The time at which the alert last fired, or a person last requested or approved the run."""
    if run.request:
        return run.updated_at
    return episode.last_seen_at if episode else None


def _approval(run: Run, now: float) -> Approval | None:
    """The approval while it is valid; after that time a person is asked again."""
    approval, plan = run.approval, run.plan
    if approval is None or plan is None or approval.denied or approval.used:
        return None
    return approval if now < approval.at + plan.approval_s else None
