"""The state of targets and of their groups in AWS, read for the decisions on a group's alerts."""

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, TypeVar

from actions.aws import context
from actions.aws.change_calendar import CalendarState
from actions.aws.groups import GROUP_NAME, Group
from actions.aws.host_status import HostStatus
from actions.aws.instances import INSTANCE_ID, Instance
from actions.base import TargetKind
from actions.execution import disruption_budget
from actions.execution.records import STANDALONE_PERCENT, Bounds, Scope
from receiver.evidence.aws.reads import (
    AwsAnswer,
    AwsReads,
    AwsState,
    GroupState,
    errors_of,
    merged,
)
from receiver.evidence.source import Source
from receiver.evidence.target import Target
from receiver.runtime.cache import BoundedCache, JustRead

_T = TypeVar("_T")
_OfInstance = tuple[Instance | None, bool | None, HostStatus | None, str | None]


@dataclass(frozen=True, kw_only=True)
class AwsReader(AwsReads):
    """Reads AWS on `pool`. A failed read gives None, never an exception.

    `target_groups` has the ARNs from the last read of each group. Their health is read in parallel
    with the group, whose answer shows whether they are still its target groups.
    """

    pool: Executor
    standalone_percent: float = STANDALONE_PERCENT
    target_groups: BoundedCache[str, tuple[str, ...]] = field(
        default_factory=BoundedCache, init=False
    )
    # For the claim and the step that follow a decision: groups by name, scopes by what they are of.
    _groups: JustRead[str, Group] = field(default_factory=JustRead, init=False)
    _scopes: JustRead[tuple[str, str, Bounds], Sequence[Scope]] = field(
        default_factory=JustRead, init=False
    )

    def begin(self, now: float) -> "AwsReadings":
        """The readings at `now` (epoch seconds); each is made when it is first needed."""
        return AwsReadings(reader=self, now=now)

    def keep(self, target: Target, bounds: Bounds, state: AwsState, at: float) -> None:
        """Keep what a decision read, whose first query began `at` (monotonic seconds)."""
        self._scopes.keep((target.id or "", target.group or "", bounds), state.scopes, at)
        self._groups.keep(target.group or "", state.asg, at)

    def recent_group(self, name: str) -> Group | None:
        """The group as a decision read it in the last second, returned once; otherwise None."""
        return self._groups.take(name, self.monotonic())

    def recent_scopes(self, target: str, group: str, bounds: Bounds) -> Sequence[Scope] | None:
        """The scopes of a decision in the last second, returned once; otherwise None."""
        return self._scopes.take((target, group, bounds), self.monotonic())

    def prefetch(self, names: Collection[str], now: float) -> None:
        """Make the slow reads about instances and groups before their alerts fire.

        These are CloudTrail's events, and the target groups of a group that was never read.
        """
        for name in names:
            is_group = not INSTANCE_ID.fullmatch(name)
            if is_group and not GROUP_NAME.fullmatch(name):
                continue
            if self.trail:
                self.recent_events(name, now)
            if is_group and name not in self.target_groups and (group := self.group(name).value):
                self.target_groups[name] = group.target_groups


@dataclass(kw_only=True)
class AwsReadings:
    """AWS's answers about targets and their groups, each read once, when it is first needed.

    No query waits for another one on the pool: waiting queries could fill it up.
    """

    reader: AwsReader
    now: float
    _queries: dict[tuple[object, ...], Future[Any]] = field(default_factory=dict, init=False)
    _groups: dict[str, GroupState | None] = field(default_factory=dict, init=False)
    _began: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.reader.monotonic()

    @property
    def age_s(self) -> float:
        return self.reader.monotonic() - self._began

    def group(self, name: str | None) -> Group | None:
        return self._query(self.reader.group, name).result().value if name else None

    def unread(self, target: Target) -> Sequence[str]:
        """The failed reads of the target and of its group."""
        queries: list[Future[Any]] = []
        if target.kind is TargetKind.INSTANCE:
            queries.append(self._query(self.reader.instance, target.id))
        if target.group:
            queries.append(self._query(self.reader.group, target.group))
        return errors_of([query.result() for query in queries])

    def unread_peers(self, group: str | None) -> Sequence[str]:
        """The failed read of the group or, without one, of the instances outside groups."""
        reader = self.reader
        query = self._query(reader.group, group) if group else self._query(reader.standalone)
        return errors_of([query.result()])

    def standalone(self) -> frozenset[str] | None:
        """Ids of the opted-in instances outside groups."""
        instances = self._query(self.reader.standalone).result().value
        return None if instances is None else frozenset(instance.id for instance in instances)

    def calendar(self, names: Sequence[str]) -> AwsAnswer[CalendarState]:
        """The state of these change calendars."""
        return self._query(self.reader.calendar, tuple(names)).result()

    def failed_hosts(self) -> frozenset[str] | None:
        """Ids of the instances whose hosts have failed, or will be retired."""
        return self._query(self.reader.hosts_to_leave).result()

    def begin(self, target: Target, bounds: Bounds) -> Callable[[], AwsState]:
        """Start all queries about the target; the returned function waits for the answers."""
        reader, group = self.reader, target.group
        if target.kind is TargetKind.INSTANCE:
            for read in (
                reader.instance,
                reader.is_protected,
                reader.host_status,
                reader.volume_check,
            ):
                self._query(read, target.id)
            self._others(target)
        if group:
            self._query(reader.group, group)
            arns = reader.target_groups.get(group)
            for arn in arns or ():
                self._query(reader.target_health, arn, guess=True)
            if arns is not None:
                self._query(reader.refreshes, group, guess=True)
        else:
            self._query(reader.standalone)
        self._events(target)
        return cache(partial(self._state, target, bounds))

    def _state(self, target: Target, bounds: Bounds) -> AwsState:
        reader, group = self.reader, self._group_state(target.group) if target.group else None
        instance, protected, host, volume_check = self._of_instance(target)
        scopes, changes = None, None
        if not target.group:
            scopes = self._standalone_scopes()
            changes = context.recovery(instance, host, self.now)
        if group is not None:
            health = {arn: answer for arn, answer in group.health.items() if answer is not None}
            if len(health) == len(group.health):
                scopes = disruption_budget.scopes_of(target.id or "", group.asg, bounds, health)
            changes = None if group.refreshes is None else [*map(str, group.refreshes)]
        events = [query.result() for query in self._events(target)]
        maintenance = () if host is None else host.maintenance(self.now)
        others = [query.result() for query in self._others(target)]
        state = AwsState(
            unread=self.unread(target),
            instance=instance,
            asg=group.asg if group else None,
            scopes=scopes,
            unread_health=group.unread_health if group else (),
            refreshes=group.refreshes if group else None,
            changes=merged([changes, maintenance, reader.interruption(instance), *others, *events]),
            trail_age_s=reader.events_age_s(self.now) or 0.0,
            protected=protected,
            host=host,
            volume_check=volume_check,
            standalone=frozenset() if target.group else self.standalone(),
        )
        reader.keep(target, bounds, state, self._began)
        return state

    def _of_instance(self, target: Target) -> _OfInstance:
        if target.kind is not TargetKind.INSTANCE:
            return None, None, None, None
        instance = self._query(self.reader.instance, target.id).result().value
        protected = self._query(self.reader.is_protected, target.id).result()
        host = self._query(self.reader.host_status, target.id).result()
        return instance, protected, host, self._query(self.reader.volume_check, target.id).result()

    def _standalone_scopes(self) -> Sequence[Scope] | None:
        instances = self._query(self.reader.standalone).result().value
        if instances is None:
            return None
        return [disruption_budget.standalone_scope(instances, self.reader.standalone_percent)]

    def _group_state(self, name: str) -> GroupState | None:
        if name not in self._groups:
            self._groups[name] = self._read_group_state(name)
        return self._groups[name]

    def _read_group_state(self, name: str) -> GroupState | None:
        reader, asg = self.reader, self.group(name)
        if asg is None:
            reader.target_groups.pop(name, None)
            return None
        guessed = reader.target_groups.get(name)
        reader.target_groups[name] = asg.target_groups
        refreshes = self._query(reader.refreshes, name)
        pending = {arn: self._query(reader.target_health, arn) for arn in asg.target_groups}
        health = {arn: future.result() for arn, future in pending.items()}
        if any(health[arn] is None for arn in guessed or () if arn in health) or (
            guessed is not None and refreshes.result() is None
        ):
            # Counted as failed only now: the group shows that the decision needs these reads.
            reader.on_unreadable(Source.AWS)
        return GroupState(asg=asg, health=health, refreshes=refreshes.result())

    def _others(self, target: Target) -> Sequence[Future[Sequence[str] | None]]:
        """Of Systems Manager: what others do on an instance."""
        if target.kind is not TargetKind.INSTANCE:
            return []
        reads = (self.reader.commands_on, self.reader.sessions_on)
        return [self._query(read, target.id) for read in reads]

    def _events(self, target: Target) -> Sequence[Future[Sequence[str] | None]]:
        names = dict.fromkeys(filter(None, (target.id, target.group))) if self.reader.trail else ()
        return [self._query(self.reader.recent_events, name, self.now) for name in names]

    def _query(self, read: Callable[..., _T], *args: object, **options: bool) -> Future[_T]:
        key = (read.__name__, *args)
        if key not in self._queries:
            self._queries[key] = self.reader.pool.submit(read, *args, **options)
        return self._queries[key]
