"""Reads the snapshot for decisions on a group's alerts, from the service's records and AWS."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from actions.execution import (
    circuit_breakers,
    claims,
    debts,
    disruption_budget,
    kill_switch,
    ledger,
    rate_limits,
)
from actions.execution.ledger import Intent
from actions.execution.rate_limits import Counted
from actions.execution.records import Attempts, Breaker, Claim
from actions.place import Place
from receiver.controls import arming, overrides, records
from receiver.controls.changes import ChangeRecords
from receiver.controls.records import Arming, Change, Override
from receiver.db.database import Database
from receiver.decision.alerting import AlertingReader, AlertReports
from receiver.decision.model import Snapshot
from receiver.decision.subject import (
    Subject,
    actions_on,
    is_resolved,
    last_seen,
    moved_by,
    valid_approvals,
)
from receiver.decision.version_watch import VersionRecords
from receiver.decision.versions import SeenVersion
from receiver.evidence.accounts.readers import AwsReaders
from receiver.evidence.aws.state import AwsReadings
from receiver.evidence.dependencies.suspects import Suspect
from receiver.evidence.source import Source
from receiver.evidence.target import Target
from receiver.playbooks.time_intervals import ChangeCalendars
from receiver.runs import relapses, store
from receiver.runs.queries import search
from receiver.runs.relapses import Recovery
from receiver.runs.store import AlertingInstance
from receiver.settings import Mode
from receiver.webhook.episodes import Episode

_log = structlog.get_logger()
# Alerts of a group that started within this time belong to the same storm.
_STORM_S = 300.0
# Actions are read this far back: for this long an alert may be their consequence.
_ECHOES_S = 300.0


@dataclass(frozen=True, kw_only=True)
class _Records:
    """The service's records about some subjects, read in one transaction.

    `attempts` are by target, group and playbook, a run's `own` steps by its id, `reserved` by
    owner, `reported`, `seen` and `announced` by group.
    """

    paused: bool | None
    overrides: Sequence[Override]
    claims: Mapping[str, Claim]
    attempts: Mapping[tuple[str, str, str], Attempts]
    breakers: Mapping[str, Breaker]
    armings: Mapping[str, Sequence[Arming]]
    dispatched: Sequence[Intent]
    recovered: Mapping[str, Sequence[Recovery]]
    lent: Mapping[str, frozenset[str]]
    own: Mapping[str, Sequence[Intent]]
    reserved: Mapping[str, Mapping[str, frozenset[str]]]
    reported: Mapping[str | None, Sequence[AlertingInstance]]
    seen: Mapping[str | None, Sequence[SeenVersion]]
    announced: Mapping[str | None, Change | None]


@dataclass(frozen=True, kw_only=True)
class SnapshotReader:
    """Reads snapshots; an unreadable fact is None, never an exception.

    `episodes` gives the episodes of some runs, `silences` the holds that Alertmanager has.
    """

    database: Database
    aws: AwsReaders
    alerting: AlertingReader
    mode: Mode
    destructive_approvals: int = 1
    gap_s: float
    arming_required: bool
    episodes: Callable[[Sequence[str]], Mapping[str, Episode]]
    silences: Callable[[], Sequence[Override]] = tuple
    versions: VersionRecords = field(default_factory=VersionRecords)
    announced: ChangeRecords = field(default_factory=ChangeRecords)

    def begin(self, place: Place, subjects: Sequence[Subject], now: float) -> "GroupSnapshot":
        """The snapshot of a place at `now` (epoch seconds).

        Each part is read when it is first needed.
        """
        read = [part for part in subjects if part.readable and part.target.place == place]
        aws = self.aws.at(place).begin(now)
        return GroupSnapshot(reader=self, place=place, subjects=read, now=now, aws=aws)


@dataclass(kw_only=True)
class GroupSnapshot:
    """The facts for the decisions on `subjects`, all of one place, at `now`.

    Each part is read once, when it is first needed.
    """

    reader: SnapshotReader
    place: Place
    subjects: Sequence[Subject]
    now: float
    aws: AwsReadings
    _reports: dict[str | None, AlertReports] = field(default_factory=dict, init=False)

    def covers(self, subject: Subject) -> bool:
        """Whether it has the subject's facts, and is not older than its alert or its last step."""
        run = subject.run
        older = (run.updated_at if run.steps_begun else run.received_at) <= self.now
        return not subject.readable or (older and subject.key in self._keys)

    def from_run(self, subject: Subject) -> Snapshot:
        """The snapshot with the run's own facts; nothing is read."""
        reader, run, target = self.reader, subject.run, subject.target
        return Snapshot(
            place=self.place,
            mode=reader.mode,
            place_mode=reader.aws.accounts.mode_at(self.place),
            paused=None,
            resolved=None,
            last_seen_at=None,
            gap_s=reader.gap_s,
            target=target.id,
            unread=[target.unread] if target.unread else (),
            doubt=target.doubt,
            selector=target.selector,
            siblings=target.siblings,
            members_selector=target.members,
            host_label=target.host_label,
            exporter=target.exporter,
            named_by=target.named_by,
            kind=target.kind,
            group=target.group,
            claims=None,
            rung=run.next_rung,
            approvals=valid_approvals(run, self.now),
            destructive_approvals=reader.destructive_approvals,
        )

    def with_calendar(self, subject: Subject, snapshot: Snapshot) -> Snapshot:
        """Add the state of the change calendars that the playbook's window names, if it does."""
        windows = [playbook.window for playbook in subject.playbooks]
        if len(windows) != 1 or not isinstance(windows[0], ChangeCalendars):
            return snapshot
        answer = self.aws.calendar(windows[0].change_calendars)
        return replace(snapshot, calendar=answer.value, calendar_error=answer.error)

    def with_records(
        self, subject: Subject, snapshot: Snapshot, episode: Episode | None
    ) -> Snapshot:
        """Add the facts of the alert's episode and of the service's records; AWS is not read."""
        run, target, playbook = subject.run, subject.target, subject.playbook
        snapshot = replace(
            snapshot,
            resolved=is_resolved(run, episode),
            resolved_at=episode.resolved_at if episode else None,
            last_seen_at=last_seen(run, episode),
        )
        known = self._records
        if known is None:
            return snapshot
        group = target.group or ""
        since = self.now - playbook.limits.relapse_s
        recovered = known.recovered.get(target.id or "", ())
        lapsed = relapses.did_not_last(recovered, run, playbook.name, playbook.digest, since)
        return replace(
            snapshot,
            rung=max(snapshot.rung, lapsed.next_rung if lapsed else 0),
            relapse_of=lapsed.run_id if lapsed else None,
            paused=known.paused,
            claims={name: known.claims[name] for name in subject.names if name in known.claims},
            # Who asks for a run may have silenced its alert.
            overrides=known.overrides if run.request else [*known.overrides, *self._silences],
            attempts={name: known.attempts[name, group, playbook.name] for name in subject.names},
            breaker=known.breakers[playbook.name],
            arming=records.armed_mode(
                known.armings[playbook.name],
                self.place,
                target.group or records.ALL,
                playbook.digest,
                required=self.reader.arming_required,
            ),
            recent_actions=actions_on(subject, known.dispatched),
            lent=known.lent.get(run.id, frozenset()),
            moved=moved_by(known.own.get(run.id, ()), target.id),
            reserved=known.reserved[subject.owner],
            alerting=self._alerting(subject, known),
            seen=known.seen[target.group],
            announced=known.announced[target.group],
        )

    def with_peers(self, subject: Subject, snapshot: Snapshot) -> Snapshot:
        """Add the members of the group or, without one, the instances outside groups."""
        group, aws = subject.target.group, self.aws
        peers: Any = {"asg": aws.group(group)} if group else {"standalone": aws.standalone()}
        snapshot = replace(snapshot, unread=aws.unread_peers(group), **peers)
        if snapshot.storm(subject.playbook.limits.storm):
            snapshot = replace(snapshot, failed_hosts=aws.failed_hosts())
        return snapshot

    def with_suspects(self, snapshot: Snapshot, suspects: Sequence[Suspect] | None) -> Snapshot:
        """Add the dependencies that explain the target's trouble, with the first one's run."""
        run_id = ""
        if suspects:
            name, since = suspects[0].component, self.now - 3600
            with suppress(SQLAlchemyError), self.reader.database.read() as connection:
                run_id = search.newest_about(connection, name, since=since) or ""
        return replace(snapshot, suspects=suspects, cause_run=run_id)

    @cached_property
    def _silences(self) -> Sequence[Override]:
        return self.reader.silences()

    @cached_property
    def _keys(self) -> frozenset[tuple[Target, str, str]]:
        return frozenset(subject.key for subject in self.subjects)

    @cached_property
    def _records(self) -> _Records | None:
        try:
            with self.reader.database.read() as connection:
                return self._read_records(connection)
        except SQLAlchemyError as error:
            _log.error("records_read_failed", error=type(error).__name__)
            self.reader.aws.on_unreadable(Source.RECORDS)
            return None

    def _read_records(self, connection: Connection) -> _Records:
        place = self.place
        names = sorted({name for subject in self.subjects for name in subject.names})
        playbooks = {subject.playbook.name for subject in self.subjects}
        counted = {
            (name, subject.target.group or "", subject.playbook.name)
            for subject in self.subjects
            for name in subject.names
        }
        return _Records(
            paused=kill_switch.read_paused(connection, place),
            overrides=overrides.list_current(connection, self.now),
            claims=claims.claims_on(connection, place, *names),
            attempts={
                (name, group, playbook): rate_limits.count(
                    connection,
                    Counted(place=place, target=name, group=group, playbook=playbook),
                    self.now,
                )
                for name, group, playbook in counted
            },
            breakers={
                name: circuit_breakers.read_breaker(connection, place, name) for name in playbooks
            },
            armings={name: arming.armings_of(connection, name) for name in playbooks},
            dispatched=ledger.dispatched_to(connection, place, names, self.now - _ECHOES_S),
            recovered=relapses.last_recoveries(connection, place, names, self.now),
            lent=debts.processes_lent(connection, [part.run.id for part in self.subjects]),
            own=ledger.intents_by_run(
                connection, [part.run.id for part in self.subjects if part.run.steps_begun]
            ),
            reserved={
                owner: disruption_budget.reserved_by_others(connection, place, owner)
                for owner in {subject.owner for subject in self.subjects}
            },
            reported={
                group: store.alerting_instances(connection, place, group, self.now - _STORM_S)
                for group in {subject.target.group for subject in self.subjects}
            },
            seen={
                group: self.reader.versions.read(connection, place, group or "")
                for group in {subject.target.group for subject in self.subjects}
            },
            announced={
                group: self.reader.announced.newest(connection, place, group, self.now)
                for group in {subject.target.group for subject in self.subjects}
            },
        )

    def _alerting(self, subject: Subject, known: _Records) -> frozenset[str] | None:
        """The alerting instances of the subject's group, or outside groups."""
        group = subject.target.group
        try:
            if group not in self._reports:
                own = [part.reported for part in self.subjects]
                reported = known.reported[group]
                if len(reported) == store.ALERTING_MAX:
                    # Alerts on unknown instances must not displace those on members.
                    reported = self._reported_of_peers(group) or reported
                self._reports[group] = self.reader.alerting.read(reported, own, self.now)
        except SQLAlchemyError as error:
            _log.error("records_read_failed", error=type(error).__name__)
            self.reader.aws.on_unreadable(Source.RECORDS)
            return None
        return self._reports[group].alerting(subject.reported.key)

    def _reported_of_peers(self, group: str | None) -> Sequence[AlertingInstance]:
        """The reported alerts on the group's members, or on the instances outside groups."""
        asg = self.aws.group(group)
        peers = self.aws.standalone() if group is None else asg and asg.members
        since = self.now - _STORM_S
        with self.reader.database.read() as connection:
            return store.alerting_instances(connection, self.place, group, since, among=peers or ())
