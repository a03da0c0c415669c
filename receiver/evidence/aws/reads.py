"""Single reads from AWS; each returns None where AWS does not answer."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import structlog

from actions.aws import context, errors, group_activities, target_health
from actions.aws.call_budgets import CallBudgetError
from actions.aws.change_calendar import CalendarState, read_calendar
from actions.aws.client_set import Aws
from actions.aws.context import ForeignChanges
from actions.aws.errors import AWS_ERRORS
from actions.aws.group_activities import ActiveRefresh
from actions.aws.groups import Group, read_group
from actions.aws.host_status import (
    HostStatus,
    find_affected,
    read_host_statuses,
    read_volume_checks,
)
from actions.aws.instances import (
    Instance,
    find_named,
    ping,
    read_instances,
    read_standalone,
    require_id,
)
from actions.aws.target_errors import NotActionableError
from actions.execution.records import Scope
from receiver.evidence.aws.shared_reads import BatchedRead, KeptRead
from receiver.evidence.source import Source
from receiver.runtime.cache import BoundedCache

_log = structlog.get_logger()
_T = TypeVar("_T")
# Registered instances of a target group, and the healthy ones among them.
TargetHealth = tuple[frozenset[str], frozenset[str]]
# CloudTrail's events are reused for this long: they are minutes late anyway.
EVENTS_LAST_S = 30.0


@dataclass(frozen=True, kw_only=True)
class AwsAnswer(Generic[_T]):
    """`error` names the call that failed and AWS's code; without one, no value means "none"."""

    value: _T | None = None
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class AwsState:
    """AWS's answers; None is unknown. Fields are as in `receiver.decision.model.Snapshot`."""

    unread: Sequence[str]
    instance: Instance | None
    asg: Group | None
    scopes: Sequence[Scope] | None
    unread_health: Sequence[str]
    changes: Sequence[str] | None
    trail_age_s: float
    refreshes: Sequence[ActiveRefresh] | None
    protected: bool | None
    host: HostStatus | None
    volume_check: str | None
    standalone: frozenset[str] | None


@dataclass(frozen=True, kw_only=True)
class GroupState:
    """A group, the health of its target groups by ARN, and its active instance refreshes."""

    asg: Group
    health: Mapping[str, TargetHealth | None]
    refreshes: Sequence[ActiveRefresh] | None

    @property
    def unread_health(self) -> Sequence[str]:
        """The target groups of which AWS did not answer who serves."""
        return [arn for arn, health in self.health.items() if health is None]


@dataclass
class Silence:
    """Since when AWS answers no read (monotonic seconds), and its last error; None: it answers."""

    since: float | None = None
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class AwsReads:
    """Reads AWS; with `trail`, also CloudTrail.

    `on_unreadable` is called for each failed read, unless it is a `guess`: a read that the decision
    may turn out not to need.
    """

    aws: Aws
    trail: bool
    on_unreadable: Callable[[Source], None] = lambda _: None
    monotonic: Callable[[], float] = time.monotonic
    silence: Silence = field(default_factory=Silence, init=False)
    # CloudTrail's events by name of instance or group, with the time of the query.
    _events: BoundedCache[str, tuple[float, Sequence[str]]] = field(
        default_factory=BoundedCache, init=False
    )
    _changes: KeptRead[AwsAnswer[ForeignChanges]] = field(init=False, repr=False)
    _instances: BatchedRead[str, Instance] = field(init=False, repr=False)
    _hosts: BatchedRead[str, HostStatus] = field(init=False, repr=False)
    _volumes: BatchedRead[str, str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        aws = self.aws
        shared = {
            "_changes": KeptRead(self._read_changes, EVENTS_LAST_S),
            "_instances": BatchedRead(lambda ids: read_instances(aws, ids)),
            "_hosts": BatchedRead(lambda ids: read_host_statuses(aws, ids)),
            "_volumes": BatchedRead(lambda ids: read_volume_checks(aws, ids)),
        }
        for name, read in shared.items():
            object.__setattr__(self, name, read)

    def instance(self, instance_id: str) -> AwsAnswer[Instance]:
        return self._answer("DescribeInstances", lambda: self._instance(instance_id))

    def _instance(self, instance_id: str) -> Instance | None:
        require_id(instance_id)
        return self._instances.read(instance_id)

    def ping(self) -> str:
        """The error of a small read; empty where AWS answers."""
        ended: AwsAnswer[None] = self._answer(
            "DescribeInstances", lambda: ping(self.aws), guess=True
        )
        return ended.error

    def instances_named(self, name: str, value: str) -> AwsAnswer[Sequence[Instance]]:
        """The live instances with this address, DNS name or tag, by EC2's filter `name`."""
        return self._answer("DescribeInstances", lambda: find_named(self.aws, name, value))

    def group(self, name: str) -> AwsAnswer[Group]:
        return self._answer("DescribeAutoScalingGroups", lambda: read_group(self.aws, name))

    def standalone(self) -> AwsAnswer[Sequence[Instance]]:
        """The opted-in instances outside groups."""
        return self._answer("DescribeInstances", lambda: read_standalone(self.aws))

    def calendar(self, names: Sequence[str]) -> AwsAnswer[CalendarState]:
        return self._answer("GetCalendarState", lambda: read_calendar(self.aws, names))

    def is_protected(self, instance_id: str) -> bool | None:
        return self._read(lambda: context.is_termination_protected(self.aws, instance_id))

    def host_status(self, instance_id: str) -> HostStatus | None:
        return self._read(lambda: self._hosts.read(instance_id))

    def volume_check(self, instance_id: str) -> str | None:
        return self._read(lambda: self._volumes.read(instance_id), guess=True)

    def interruption(self, instance: Instance | None) -> Sequence[str] | None:
        if instance is None or not instance.is_spot:
            return ()
        return self._read(lambda: context.interruption(self.aws, instance))

    def commands_on(self, instance_id: str) -> Sequence[str] | None:
        return self._read(lambda: context.commands_on(self.aws, instance_id))

    def sessions_on(self, instance_id: str) -> Sequence[str] | None:
        return self._read(lambda: context.sessions_on(self.aws, instance_id))

    def hosts_to_leave(self) -> frozenset[str] | None:
        """Ids of the instances whose hosts have failed, or will be retired."""
        hosts = self._read(lambda: find_affected(self.aws))
        return None if hosts is None else frozenset(host.id for host in hosts if host.must_be_left)

    def target_health(self, arn: str, *, guess: bool = False) -> TargetHealth | None:
        return self._read(lambda: target_health.read_target_health(self.aws, arn), guess=guess)

    def refreshes(self, group: str, *, guess: bool = False) -> Sequence[ActiveRefresh] | None:
        return self._read(lambda: group_activities.active_refreshes(self.aws, group), guess=guess)

    def recent_events(self, name: str, now: float) -> Sequence[str] | None:
        """Changes by others, from one look for all targets there, repeated after half a minute.

        Where there are too many changes for that, those of each target are looked up.
        """
        changes = self._changes.get(now)
        if changes is None:
            return None
        if changes.value is not None and not changes.value.silent:
            return changes.value.of(name)
        asked_at, remembered = self._events.get(name, (0.0, None))
        if remembered is not None and 0 <= now - asked_at < EVENTS_LAST_S:
            return remembered
        # Where the look shows no change at all, it is asked once more by the name, as a hint.
        silent = changes.value is not None
        events = self._read(lambda: context.changes_of(self.aws, name, now), guess=silent)
        events = [] if events is None and silent else events
        if events is not None:
            self._events[name] = (now, events)
        return events

    def _read_changes(self, now: float) -> AwsAnswer[ForeignChanges] | None:
        """None without an answer; without a value there are too many changes."""
        answer = self._answer("LookupEvents", lambda: context.foreign_changes(self.aws, now))
        return None if answer.error else answer

    def events_age_s(self, now: float) -> float | None:
        """Seconds since CloudTrail was asked for the changes of all targets there."""
        return self._changes.age_s(now)

    def _read(self, read: Callable[[], _T | None], *, guess: bool = False) -> _T | None:
        return self._answer("", read, guess=guess).value

    def _answer(
        self, call: str, read: Callable[[], _T | None], *, guess: bool = False
    ) -> AwsAnswer[_T]:
        """`call` is the call to AWS that the read makes."""
        try:
            answer: AwsAnswer[_T] = AwsAnswer(value=read())
        except (NotActionableError, KeyError):
            # KeyError: AWS left out a part of its answer.
            answer = AwsAnswer()
        except AWS_ERRORS as error:
            code = errors.classify(error).name
            if not isinstance(error, CallBudgetError):
                self.silence.since = self.silence.since or self.monotonic()
                self.silence.error = code
            _log.warning("aws_read_failed", error=code)
            if not guess:
                self.on_unreadable(Source.AWS)
            return AwsAnswer(error=f"{call}: {code}")
        self.silence.since = None
        return answer


def errors_of(answers: Sequence[AwsAnswer[Any]]) -> Sequence[str]:
    """The errors of the reads that failed, each once."""
    return list(dict.fromkeys(answer.error for answer in answers if answer.error))


def merged(parts: Sequence[Sequence[str] | None]) -> Sequence[str] | None:
    """The union of all parts; None if a part is None."""
    whole: list[str] = []
    for part in parts:
        if part is None:
            return None
        whole += part
    return whole
