"""What AWS says of a target and of what is around it, and what it said a moment ago."""

import ipaddress
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache, partial
from typing import TypeVar

import structlog

from actions.aws import context, errors, inventory
from actions.aws.clients import AWS_ERRORS, Aws
from actions.aws.inventory import Group, Instance, NotActionableError
from actions.base import TargetKind
from actions.execution import disruption_budget
from actions.execution.disruption_budget import Bounds, Scope
from receiver.runtime.cache import BoundedCache

_log = structlog.get_logger()
_T = TypeVar("_T")
_Health = tuple[frozenset[str], frozenset[str]]
# How long a group is good enough to tell a storm, CloudTrail's word holds, and so do the scopes
# that were decided on: a claim that follows at once need not read them again.
_LATELY_S, _HEARD_S, _RECENT_S = 2.0, 30.0, 1.0


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
class Seen:
    """The answers; None is unknown, as in `receiver.decision.Situation`."""

    instance: Instance | None
    asg: Group | None
    scopes: Sequence[Scope] | None
    changes: Sequence[str] | None
    protected: bool | None


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What was asked for a decision, from `at` on in monotonic seconds."""

    target: str
    group: str | None
    bounds: Bounds
    at: float
    instance: Future[Instance | None] | None
    protected: Future[bool | None] | None
    asg: Future[Group | None] | None
    refreshing: Future[Sequence[str] | None] | None
    health: Mapping[str, Future[_Health | None]]
    told: Sequence[Future[Sequence[str] | None]]


@dataclass(frozen=True, kw_only=True)
class AwsFacts:
    """Asks AWS on `pool`. Whatever cannot be read is None, never an exception.

    `trail`: CloudTrail is asked, too. `unreadable` is told where AWS does not answer.
    """

    aws: Aws
    pool: Executor
    trail: bool
    unreadable: Callable[[Source], None] = lambda _: None
    monotonic: Callable[[], float] = time.monotonic
    # Groups by name, with when they were read.
    _read: BoundedCache[str, tuple[float, Group | None]] = field(
        default_factory=BoundedCache, init=False
    )
    # What CloudTrail said of a name, with when it was asked.
    _heard: BoundedCache[str, tuple[float, Sequence[str]]] = field(
        default_factory=BoundedCache, init=False
    )
    # The target groups of a group as it was last seen.
    _arns: BoundedCache[str, tuple[str, ...]] = field(default_factory=BoundedCache, init=False)
    _scopes: BoundedCache[tuple[str, str, Bounds], tuple[float, Sequence[Scope]]] = field(
        default_factory=BoundedCache, init=False
    )

    def look(self, target: Target, bounds: Bounds, now: float) -> Callable[[], Seen]:
        """Ask for the target and what is around it, all at once; what is returned waits for it.

        What hangs on the group is asked for with it where the group is known from before. Nothing
        that runs on the pool waits for the pool.
        """
        target_id, group = target.id or "", target.group
        of_instance = target.kind is TargetKind.INSTANCE
        names = dict.fromkeys(filter(None, (target_id, group))) if self.trail else ()
        arns = self._arns.get(group or "")
        self._scopes.pop((target_id, group or "", bounds), None)
        asked = _Asked(
            target=target_id,
            group=group,
            bounds=bounds,
            at=self.monotonic(),
            instance=self.pool.submit(self._instance, target_id) if of_instance else None,
            protected=self.pool.submit(self._protected, target_id) if of_instance else None,
            asg=self.pool.submit(self._group, group) if group else None,
            refreshing=self.pool.submit(self._refreshing, group, guess=True)
            if group and arns is not None
            else None,
            health={arn: self.pool.submit(self._health, arn, guess=True) for arn in arns or ()},
            told=[self.pool.submit(self._events, name, now) for name in names],
        )
        return cache(partial(self._seen, asked))

    def _seen(self, asked: _Asked) -> Seen:
        asg, scopes, changes = self._around(asked)
        return Seen(
            instance=asked.instance.result() if asked.instance else None,
            asg=asg,
            scopes=scopes,
            changes=_all([changes, *(one.result() for one in asked.told)]),
            protected=asked.protected.result() if asked.protected else None,
        )

    def _around(
        self, asked: _Asked
    ) -> tuple[Group | None, Sequence[Scope] | None, Sequence[str] | None]:
        """The group, its scopes, and who else works on it."""
        if asked.group is None or asked.asg is None:
            return None, (), ()
        asg = asked.asg.result()
        if asg is None:
            self._arns.pop(asked.group, None)
            return None, None, None
        self._arns[asked.group] = asg.target_groups
        refreshing = asked.refreshing or self.pool.submit(self._refreshing, asked.group)
        health = {
            arn: asked.health.get(arn) or self.pool.submit(self._health, arn)
            for arn in asg.target_groups
        }
        known = {arn: one.result() for arn, one in health.items()}
        if any(asked.health.get(arn) and one is None for arn, one in known.items()) or (
            asked.refreshing and refreshing.result() is None
        ):
            # They were guesses until the group said that they are wanted.
            self.unreadable(Source.AWS)
        scopes = None
        whole = {arn: one for arn, one in known.items() if one is not None}
        if len(whole) == len(known):
            scopes = disruption_budget.scopes_of(asked.target, asg, asked.bounds, whole)
            self._note(asked, scopes)
        changes = _all([refreshing.result(), context.ongoing_changes(asked.target, asg)])
        return asg, scopes, changes

    def _note(self, asked: _Asked, scopes: Sequence[Scope]) -> None:
        """As old as what was asked first, unless what was asked later was answered sooner."""
        key = (asked.target, asked.group or "", asked.bounds)
        at, _ = self._scopes.get(key, (-math.inf, ()))
        if at <= asked.at:
            self._scopes[key] = (asked.at, scopes)

    def recent_scopes(self, target: str, group: str, bounds: Bounds) -> Sequence[Scope] | None:
        """What a decision asked a moment ago found them to be; None where that is too long ago.

        Once: who acts next reads them anew.
        """
        at, scopes = self._scopes.pop((target, group, bounds), (-math.inf, ()))
        return scopes if self.monotonic() - at < _RECENT_S else None

    def locate(self, labels: Mapping[str, str], *, ask: bool) -> Target:
        """The target by `instance_id`, else by private address, else the group itself.

        Nothing but a well-formed id or name is believed; empty is nobody, never everybody. `ask`
        AWS where the labels do not say it all.
        """
        named = labels.get("asg", "")
        group = named if inventory.GROUP_NAME.fullmatch(named) else None
        if inventory.INSTANCE_ID.fullmatch(labels.get("instance_id", "")):
            return self._instance_target(labels["instance_id"], group, ask=ask)
        address = _private_address(labels.get("instance", "")) if ask else None
        if address is not None:
            found = self._known(lambda: inventory.find_by_private_address(self.aws, address))
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

    def lately(self, name: str | None) -> Group | None:
        """The group as it was a moment ago: enough to tell a storm, and never to act on."""
        if name is None:
            return None
        now = self.monotonic()
        at, known = self._read.get(name, (-_LATELY_S, None))
        if now - at < _LATELY_S:
            return known
        found = self._group(name)
        self._read[name] = (now, found)
        return found

    def ahead(self, names: Collection[str], now: float) -> None:
        """Ask about instances and groups before they are decided on.

        What CloudTrail says of them, and what hangs on a group that was never seen.
        """
        for name in names:
            of_group = not inventory.INSTANCE_ID.fullmatch(name)
            if of_group and not inventory.GROUP_NAME.fullmatch(name):
                continue
            if self.trail:
                self._events(name, now)
            found = self._group(name) if of_group and name not in self._arns else None
            if found is not None:
                self._arns[name] = found.target_groups

    def _events(self, name: str, now: float) -> Sequence[str] | None:
        """CloudTrail is minutes late by itself, answers slowly, and only twice a second."""
        at, heard = self._heard.get(name, (0.0, None))
        if heard is not None and 0 <= now - at < _HEARD_S:
            return heard
        found = self._known(lambda: context.recent_changes(self.aws, name, now))
        if found is not None:
            self._heard[name] = (now, found)
        return found

    def _group(self, name: str) -> Group | None:
        return self._known(lambda: inventory.read_group(self.aws, name))

    def _instance(self, instance_id: str) -> Instance | None:
        return self._known(lambda: inventory.read_instance(self.aws, instance_id))

    def _protected(self, instance_id: str) -> bool | None:
        return self._known(lambda: context.is_termination_protected(self.aws, instance_id))

    def _health(self, arn: str, *, guess: bool = False) -> _Health | None:
        return self._known(lambda: context.read_target_health(self.aws, arn), guess=guess)

    def _refreshing(self, group: str, *, guess: bool = False) -> Sequence[str] | None:
        return self._known(lambda: context.active_refreshes(self.aws, group), guess=guess)

    def _known(self, read: Callable[[], _T], *, guess: bool = False) -> _T | None:
        """What `read` gives, or None where AWS does not answer.

        A `guess` is not told of: nobody may want to know.
        """
        try:
            return read()
        except NotActionableError:
            return None
        except AWS_ERRORS as error:
            _log.warning("situation_unreadable", error=errors.classify(error)[0])
            if not guess:
                self.unreadable(Source.AWS)
            return None


def _all(parts: Sequence[Sequence[str] | None]) -> Sequence[str] | None:
    """All parts as one; unknown where one of them is."""
    known = [part for part in parts if part is not None]
    return [one for part in known for one in part] if len(known) == len(parts) else None


def _private_address(instance: str) -> str | None:
    """The address of a scrape target ("10.0.1.7:9100") where it is a private IPv4 one."""
    host, _, _ = instance.partition(":")
    try:
        address = ipaddress.IPv4Address(host)
    except ValueError:
        return None
    return str(address) if address.is_private and not address.is_loopback else None
