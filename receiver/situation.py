"""The snapshot that a decision rests on, read from our own records and from AWS."""

import ipaddress
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeVar

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from actions import (
    blast_radius,
    breakers,
    claims,
    failures,
    fleet,
    ledger,
    rates,
    surroundings,
    switch,
)
from actions.action import TargetKind
from actions.aws import AWS_ERRORS, Aws
from actions.blast_radius import Scope
from actions.fleet import NotActionableError
from actions.surroundings import Bounds
from receiver import arming, overrides, runs
from receiver.database import Database
from receiver.decision import Approval, PastAct, Situation
from receiver.episodes import Episode
from receiver.playbook import Playbook
from receiver.run import Run
from receiver.settings import Mode

_log = structlog.get_logger()
_T = TypeVar("_T")
# Alerts of a group within this time are one storm, and this long our acts may echo in alerts.
_STORM_S, _ECHOES_S = 300.0, 300.0
_LATELY_S, _RAGING_S, _HEARD_S, _GROUPS_MOST = 2.0, 1.0, 30.0, 1000
# From so many alerting instances of a group on there may be a storm.
MANY = 3


class Source(StrEnum):
    """Where what a decision rests on is read from."""

    AWS = "aws"
    PROMETHEUS = "prometheus"
    RECORDS = "records"


@dataclass(frozen=True, kw_only=True)
class Target:
    """Whom an alert is about; all None where its labels do not say."""

    id: str | None = None
    kind: TargetKind | None = None
    group: str | None = None


@dataclass(frozen=True, kw_only=True)
class Situations:
    """Reads situations. Whatever cannot be read is None in them, never an exception.

    `resolved` tells which of some runs' alerts are over, `unreadable` is told of each source that
    does not answer.
    """

    database: Database
    aws: Aws
    pool: Executor
    mode: Mode
    gap_s: float
    trail: bool
    arming_required: bool
    resolved: Callable[[Sequence[str]], Collection[str]]
    unreadable: Callable[[Source], None] = lambda _: None
    # Groups by name, with when they were read.
    _read: dict[str, tuple[float, fleet.Group | None]] = field(default_factory=dict, init=False)
    # Who alerts of a group, with when that was read.
    _raging: dict[str, tuple[float, frozenset[str]]] = field(default_factory=dict, init=False)
    # What CloudTrail said of a name, with when it was asked.
    _heard: dict[str, tuple[float, Sequence[str]]] = field(default_factory=dict, init=False)

    def plain(self, run: Run, target: Target, now: float) -> Situation:
        """What the run itself says; nothing is read."""
        return Situation(
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

    def early(
        self,
        run: Run,
        situation: Situation,
        episode: Episode | None,
        playbook: Playbook,
        now: float,
    ) -> Situation:
        """With what our own records say; AWS is not asked."""
        situation = replace(
            situation, resolved=_resolved(run, episode), last_seen_at=_last_seen(run, episode)
        )
        try:
            with self.database.read() as connection:
                recorded = replace(
                    _recorded(connection, situation, run, playbook.name, now),
                    arming=arming.armed(
                        arming.of(connection, playbook.name),
                        situation.group or arming.ALL,
                        playbook.digest,
                        required=self.arming_required,
                    ),
                )
                alerting = self._alerting(connection, situation.group or "", now)
            return replace(recorded, alerting=alerting)
        except SQLAlchemyError as error:
            _log.error("records_unreadable", run=run.id, error=type(error).__name__)
            self.unreadable(Source.RECORDS)
            return situation

    def counted_anew(self, situation: Situation, now: float) -> Situation:
        """With who alerts of the group at this moment: more may be a storm by now."""
        self._raging.pop(situation.group or "", None)
        try:
            with self.database.read() as connection:
                alerting = self._alerting(connection, situation.group or "", now)
        except SQLAlchemyError:
            self.unreadable(Source.RECORDS)
            return replace(situation, alerting=None)
        return replace(situation, alerting=alerting)

    def _alerting(self, connection: Connection, group: str, now: float) -> frozenset[str]:
        """Instances of the group that alert. Where many do, they still do a second later."""
        at, known = self._raging.get(group, (0.0, frozenset[str]()))
        if len(known) >= MANY and 0 <= now - at < _RAGING_S:
            return known
        if len(self._raging) > _GROUPS_MOST:
            self._raging.clear()
        alerts = runs.alerting(connection, group, now - _STORM_S)
        over = self.resolved(list(alerts))
        known = frozenset(one for run_id, one in alerts.items() if run_id not in over)
        self._raging[group] = (now, known)
        return known

    def ask(self, situation: Situation, playbook: Playbook, now: float) -> Callable[[], Situation]:
        """Ask AWS for the target and what is around it; call what is returned for the answers."""
        return self.pool.submit(self._asked, situation, playbook, now).result

    def _asked(self, situation: Situation, playbook: Playbook, now: float) -> Situation:
        target, group = situation.target or "", situation.group
        of_instance = situation.kind is TargetKind.INSTANCE
        instance = self.pool.submit(self._instance, target) if of_instance else None
        protected = self.pool.submit(self._protected, target) if of_instance else None
        names = dict.fromkeys(filter(None, (target, group))) if self.trail else ()
        events = [self.pool.submit(self._events, name, now) for name in names]
        asg = self._group(group) if group else None
        known = asg is not None or group is None
        changes = self.pool.submit(self._changes, target, asg) if known else None
        scopes = self._scopes(target, asg, playbook.limits.bounds) if known else None
        told = [changes.result() if changes else None, *(one.result() for one in events)]
        return replace(
            situation,
            instance=instance.result() if instance else None,
            asg=asg,
            scopes=scopes,
            changes=_all(told),
            protected=protected.result() if protected else None,
        )

    def locate(self, labels: Mapping[str, str], *, ask: bool) -> Target:
        """The target by `instance_id`, else by private address, else the group itself.

        Nothing but a well-formed id or name is believed; empty is nobody, never everybody. `ask`
        AWS where the labels do not say it all.
        """
        named = labels.get("asg", "")
        group = named if fleet.GROUP_NAME.fullmatch(named) else None
        if fleet.INSTANCE_ID.fullmatch(labels.get("instance_id", "")):
            return self._instance_target(labels["instance_id"], group, ask=ask)
        address = _private_address(labels.get("instance", "")) if ask else None
        if address is not None:
            found = self._known(lambda: fleet.by_private_address(self.aws, address))
            if found is not None:
                return Target(id=found.id, kind=TargetKind.INSTANCE, group=group or found.group)
        if group is not None and not labels.get("instance_id"):
            return Target(id=group, kind=TargetKind.GROUP, group=group)
        return Target()

    def _instance_target(self, instance_id: str, group: str | None, *, ask: bool) -> Target:
        if group is None and ask:
            found = self._instance(instance_id)
            group = found.group if found else None
        return Target(id=instance_id, kind=TargetKind.INSTANCE, group=group)

    def lately(self, name: str | None) -> fleet.Group | None:
        """The group as it was a moment ago: enough to tell a storm, and never to act on."""
        if name is None:
            return None
        now = time.monotonic()
        at, known = self._read.get(name, (-_LATELY_S, None))
        if now - at < _LATELY_S:
            return known
        if len(self._read) > _GROUPS_MOST:
            self._read.clear()
        found = self._group(name)
        self._read[name] = (now, found)
        return found

    def _group(self, name: str) -> fleet.Group | None:
        return self._known(lambda: fleet.group(self.aws, name))

    def _instance(self, instance_id: str) -> fleet.Instance | None:
        return self._known(lambda: fleet.instance(self.aws, instance_id))

    def _protected(self, instance_id: str) -> bool | None:
        return self._known(lambda: surroundings.protected(self.aws, instance_id))

    def _scopes(
        self, target: str, asg: fleet.Group | None, bounds: Bounds
    ) -> Sequence[Scope] | None:
        if asg is None:
            return ()
        return self._known(lambda: surroundings.scopes_of(self.aws, target, asg, bounds))

    def _changes(self, target: str, asg: fleet.Group | None) -> Sequence[str] | None:
        return self._known(lambda: surroundings.changes(self.aws, target, asg))

    def hear(self, names: Collection[str], now: float) -> None:
        """Ask CloudTrail about instances and groups ahead of a decision."""
        for name in names if self.trail else ():
            if fleet.INSTANCE_ID.fullmatch(name) or fleet.GROUP_NAME.fullmatch(name):
                self._events(name, now)

    def _events(self, name: str, now: float) -> Sequence[str] | None:
        """CloudTrail is minutes late by itself, answers slowly, and only twice a second."""
        at, heard = self._heard.get(name, (0.0, None))
        if heard is not None and 0 <= now - at < _HEARD_S:
            return heard
        if len(self._heard) > _GROUPS_MOST:
            self._heard.clear()
        found = self._known(lambda: surroundings.events(self.aws, name, now))
        if found is not None:
            self._heard[name] = (now, found)
        return found

    def _known(self, read: Callable[[], _T]) -> _T | None:
        """What `read` gives, or None where AWS does not answer."""
        try:
            return read()
        except NotActionableError:
            return None
        except AWS_ERRORS as error:
            _log.warning("situation_unreadable", error=failures.read(error)[0])
            self.unreadable(Source.AWS)
            return None


def _all(parts: Sequence[Sequence[str] | None]) -> Sequence[str] | None:
    """All parts as one; unknown where one of them is."""
    known = [part for part in parts if part is not None]
    return [one for part in known for one in part] if len(known) == len(parts) else None


def _recorded(
    connection: Connection, situation: Situation, run: Run, playbook: str, now: float
) -> Situation:
    names = [name for name in (situation.target, situation.group) if name]
    state = switch.read(connection)
    group = situation.group or ""
    attempts = {
        name: rates.count(connection, target=name, group=group, playbook=playbook, now=now)
        for name in names
    }
    return replace(
        situation,
        paused=state.paused if state else None,
        claims=claims.of(connection, *names),
        overrides=overrides.of(connection, run.labels, now, group=situation.group),
        attempts=attempts,
        breaker=breakers.read(connection, playbook),
        acts=[
            PastAct(run_id=one.run_id, action=one.action, target=one.target, at=one.dispatched_at)
            for one in ledger.dispatched(connection, names, now - _ECHOES_S)
            if one.dispatched_at is not None
        ],
        reserved=blast_radius.reserved(connection, run.id),
    )


def _resolved(run: Run, episode: Episode | None) -> bool | None:
    if run.asked:
        return False
    return episode.resolved_at is not None if episode else None


def _last_seen(run: Run, episode: Episode | None) -> float | None:
    """When the alert last fired, or a person last wanted it: by asking, or by approving."""
    if run.asked:
        return run.updated_at
    return episode.last_seen_at if episode else None


def _approval(run: Run, now: float) -> Approval | None:
    """A person's yes, for as long as they had to say it: after that they are asked again."""
    if run.approval is None or run.plan is None or run.approval.get("denied"):
        return None
    if now >= run.approval["at"] + run.plan["approval_s"]:
        return None
    return Approval(digest=run.approval["digest"], by=run.approval["by"])


def _private_address(instance: str) -> str | None:
    """The address of a scrape target ("10.0.1.7:9100") where it is a private IPv4 one."""
    host, _, _ = instance.partition(":")
    try:
        address = ipaddress.IPv4Address(host)
    except ValueError:
        return None
    return str(address) if address.is_private and not address.is_loopback else None
