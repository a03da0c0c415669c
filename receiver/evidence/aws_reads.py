"""Single reads from AWS; each returns None where AWS does not answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import structlog

from actions.aws import context, errors, refreshes, target_health
from actions.aws.client_set import Aws
from actions.aws.clients import AWS_ERRORS
from actions.aws.groups import Group, read_group
from actions.aws.instances import (
    Instance,
    find_by_private_address,
    read_instance,
    read_standalone,
)
from actions.aws.target_errors import NotActionableError
from receiver.evidence.source import Source
from receiver.runtime.cache import BoundedCache

_log = structlog.get_logger()
_T = TypeVar("_T")
# Registered instances of a target group, and the healthy ones among them.
TargetHealth = tuple[frozenset[str], frozenset[str]]
# CloudTrail's events are reused for this long: they are minutes late anyway.
_EVENTS_LAST_S = 30.0


@dataclass(frozen=True, kw_only=True)
class AwsReads:
    """Reads AWS; with `trail`, also CloudTrail.

    `on_unreadable` is called for each failed read, unless it is a `guess`: a read that the decision
    may turn out not to need.
    """

    aws: Aws
    trail: bool
    on_unreadable: Callable[[Source], None] = lambda _: None
    # CloudTrail's events by name of instance or group, with the time of the query.
    _events: BoundedCache[str, tuple[float, Sequence[str]]] = field(
        default_factory=BoundedCache, init=False
    )

    def instance(self, instance_id: str) -> Instance | None:
        return self._read(lambda: read_instance(self.aws, instance_id))

    def instance_by_address(self, address: str) -> Instance | None:
        return self._read(lambda: find_by_private_address(self.aws, address))

    def group(self, name: str) -> Group | None:
        return self._read(lambda: read_group(self.aws, name))

    def standalone(self) -> Sequence[Instance] | None:
        """The opted-in instances outside groups."""
        return self._read(lambda: read_standalone(self.aws))

    def is_protected(self, instance_id: str) -> bool | None:
        return self._read(lambda: context.is_termination_protected(self.aws, instance_id))

    def target_health(self, arn: str, *, guess: bool = False) -> TargetHealth | None:
        return self._read(lambda: target_health.read_target_health(self.aws, arn), guess=guess)

    def refreshes(self, group: str, *, guess: bool = False) -> Sequence[str] | None:
        return self._read(lambda: refreshes.active_refreshes(self.aws, group), guess=guess)

    def recent_events(self, name: str, now: float) -> Sequence[str] | None:
        """Changes by others, cached: CloudTrail answers slowly, and twice a second at most."""
        asked_at, remembered = self._events.get(name, (0.0, None))
        if remembered is not None and 0 <= now - asked_at < _EVENTS_LAST_S:
            return remembered
        events = self._read(lambda: context.recent_changes(self.aws, name, now))
        if events is not None:
            self._events[name] = (now, events)
        return events

    def _read(self, read: Callable[[], _T], *, guess: bool = False) -> _T | None:
        try:
            return read()
        except (NotActionableError, KeyError):
            # KeyError: AWS left out a part of its answer.
            return None
        except AWS_ERRORS as error:
            _log.warning("aws_read_failed", error=errors.classify(error).name)
            if not guess:
                self.on_unreadable(Source.AWS)
            return None
