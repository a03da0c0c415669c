"""The state of a target and of its group in AWS, read concurrently for a decision."""

import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import cache, partial

from actions.aws import context, inventory
from actions.aws.inventory import Group, Instance
from actions.base import TargetKind
from actions.execution import disruption_budget
from actions.execution.records import Bounds, Scope
from receiver.evidence.aws_reads import AwsReads, TargetHealth
from receiver.evidence.source import Source
from receiver.evidence.target import Target, private_address
from receiver.runtime.cache import BoundedCache

# A group this old still serves to recognise a storm.
_GROUP_LASTS_S = 2.0
# Scopes this old still serve the claim that follows the decision.
_SCOPES_LAST_S = 1.0


@dataclass(frozen=True, kw_only=True)
class AwsState:
    """AWS's answers; None is unknown. Fields are as in `receiver.decision.model.Snapshot`."""

    instance: Instance | None
    asg: Group | None
    scopes: Sequence[Scope] | None
    changes: Sequence[str] | None
    protected: bool | None


@dataclass(frozen=True, kw_only=True)
class _Queries:
    """The queries of a decision, which began at `at` (monotonic seconds)."""

    target: str
    group: str | None
    bounds: Bounds
    at: float
    instance: Future[Instance | None] | None
    protected: Future[bool | None] | None
    asg: Future[Group | None] | None
    refreshes: Future[Sequence[str] | None] | None
    health: Mapping[str, Future[TargetHealth | None]]
    events: Sequence[Future[Sequence[str] | None]]


@dataclass(frozen=True, kw_only=True)
class AwsReader(AwsReads):
    """Reads AWS on `pool`. A failed read gives None, never an exception."""

    pool: Executor
    monotonic: Callable[[], float] = time.monotonic
    # Groups by name, with the time of their read.
    _groups: BoundedCache[str, tuple[float, Group | None]] = field(
        default_factory=BoundedCache, init=False
    )
    # ARNs of a group's target groups at its last read.
    _arns: BoundedCache[str, tuple[str, ...]] = field(default_factory=BoundedCache, init=False)
    # Scopes by target, group and bounds, with the time of their read.
    _scopes: BoundedCache[tuple[str, str, Bounds], tuple[float, Sequence[Scope]]] = field(
        default_factory=BoundedCache, init=False
    )

    def read_all(self, target: Target, bounds: Bounds, now: float) -> Callable[[], AwsState]:
        """Start all queries about the target; the returned function waits for the answers.

        If the group is cached, its target groups and refreshes are queried in parallel with it. No
        query waits for another one on the pool: waiting queries could fill it up.
        """
        target_id, group = target.id or "", target.group
        is_instance = target.kind is TargetKind.INSTANCE
        names = dict.fromkeys(filter(None, (target_id, group))) if self.trail else ()
        arns = self._arns.get(group or "")
        submit = self.pool.submit
        self._scopes.pop((target_id, group or "", bounds), None)
        queries = _Queries(
            target=target_id,
            group=group,
            bounds=bounds,
            at=self.monotonic(),
            instance=submit(self.instance, target_id) if is_instance else None,
            protected=submit(self.is_protected, target_id) if is_instance else None,
            asg=submit(self.group, group) if group else None,
            refreshes=submit(self.refreshes, group, guess=True)
            if group and arns is not None
            else None,
            health={arn: submit(self.target_health, arn, guess=True) for arn in arns or ()},
            events=[submit(self.recent_events, name, now) for name in names],
        )
        return cache(partial(self._await, queries))

    def _await(self, queries: _Queries) -> AwsState:
        asg, scopes, changes = self._await_group(queries)
        return AwsState(
            instance=queries.instance.result() if queries.instance else None,
            asg=asg,
            scopes=scopes,
            changes=_merged([changes, *(events.result() for events in queries.events)]),
            protected=queries.protected.result() if queries.protected else None,
        )

    def _await_group(
        self, queries: _Queries
    ) -> tuple[Group | None, Sequence[Scope] | None, Sequence[str] | None]:
        """The group, its scopes, and the changes that others make to it."""
        if queries.group is None or queries.asg is None:
            return None, (), ()
        asg = queries.asg.result()
        if asg is None:
            self._arns.pop(queries.group, None)
            return None, None, None
        self._arns[queries.group] = asg.target_groups
        refreshes = queries.refreshes or self.pool.submit(self.refreshes, queries.group)
        pending = {
            arn: queries.health.get(arn) or self.pool.submit(self.target_health, arn)
            for arn in asg.target_groups
        }
        answers = {arn: future.result() for arn, future in pending.items()}
        if any(queries.health.get(arn) and health is None for arn, health in answers.items()) or (
            queries.refreshes and refreshes.result() is None
        ):
            # These reads were guesses until the group showed that the decision needs them.
            self.on_unreadable(Source.AWS)
        scopes = None
        health = {arn: answer for arn, answer in answers.items() if answer is not None}
        if len(health) == len(answers):
            scopes = disruption_budget.scopes_of(queries.target, asg, queries.bounds, health)
            self._remember_scopes(queries, scopes)
        changes = _merged([refreshes.result(), context.ongoing_changes(queries.target, asg)])
        return asg, scopes, changes

    def _remember_scopes(self, queries: _Queries, scopes: Sequence[Scope]) -> None:
        """Cache the scopes with the time of their first query, unless the cache has newer ones."""
        key = (queries.target, queries.group or "", queries.bounds)
        at, _ = self._scopes.get(key, (-math.inf, ()))
        if at <= queries.at:
            self._scopes[key] = (queries.at, scopes)

    def recent_scopes(self, target: str, group: str, bounds: Bounds) -> Sequence[Scope] | None:
        """The scopes of a decision in the last second, returned once; otherwise None."""
        at, scopes = self._scopes.pop((target, group, bounds), (-math.inf, ()))
        return scopes if self.monotonic() - at < _SCOPES_LAST_S else None

    def resolve_target(self, labels: Mapping[str, str], *, ask: bool) -> Target:
        """The target by `instance_id`, else by private address, else the group itself.

        Only a well-formed id or name counts; an empty one means no target, never every target. With
        `ask`, AWS is read for what the labels lack.
        """
        asg_label = labels.get("asg", "")
        group = asg_label if inventory.GROUP_NAME.fullmatch(asg_label) else None
        if inventory.INSTANCE_ID.fullmatch(labels.get("instance_id", "")):
            return self._instance_target(labels["instance_id"], group, ask=ask)
        address = private_address(labels.get("instance", "")) if ask else None
        if address is not None:
            instance = self.instance_by_address(address)
            if instance is not None:
                group = group or instance.group
                return Target(id=instance.id, kind=TargetKind.INSTANCE, group=group)
        if group is not None and not labels.get("instance_id"):
            return Target(id=group, kind=TargetKind.GROUP, group=group)
        return Target()

    def _instance_target(self, instance_id: str, group: str | None, *, ask: bool) -> Target:
        if group is None and ask:
            instance = self.instance(instance_id)
            group = instance.group if instance else None
        return Target(id=instance_id, kind=TargetKind.INSTANCE, group=group)

    def recent_group(self, name: str | None) -> Group | None:
        """The group as read in the last two seconds, which may only refuse an action."""
        if name is None:
            return None
        now = self.monotonic()
        read_at, recent = self._groups.get(name, (-_GROUP_LASTS_S, None))
        if now - read_at < _GROUP_LASTS_S:
            return recent
        group = self.group(name)
        self._groups[name] = (now, group)
        return group

    def prefetch(self, names: Collection[str], now: float) -> None:
        """Make the slow reads about instances and groups before their alerts fire.

        These are CloudTrail's events, and the target groups of a group that is not cached.
        """
        for name in names:
            is_group = not inventory.INSTANCE_ID.fullmatch(name)
            if is_group and not inventory.GROUP_NAME.fullmatch(name):
                continue
            if self.trail:
                self.recent_events(name, now)
            group = self.group(name) if is_group and name not in self._arns else None
            if group is not None:
                self._arns[name] = group.target_groups


def _merged(parts: Sequence[Sequence[str] | None]) -> Sequence[str] | None:
    """The union of all parts; None if a part is None."""
    merged: list[str] = []
    for part in parts:
        if part is None:
            return None
        merged += part
    return merged
