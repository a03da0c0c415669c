"""The snapshot that a decision rests on, read from our own records and from AWS."""

import ipaddress
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from typing import TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError

from actions import claims, fleet, switch
from actions.action import TargetKind
from actions.aws import AWS_ERRORS, Aws
from actions.fleet import NotActionableError
from receiver.database import Database
from receiver.decision import Situation
from receiver.episodes import Episode
from receiver.runs import Run
from receiver.settings import Mode

_log = structlog.get_logger()
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Target:
    """Whom an alert is about; all None where its labels do not say."""

    id: str | None = None
    kind: TargetKind | None = None
    group: str | None = None


@dataclass(frozen=True, kw_only=True)
class Situations:
    """Reads situations. Whatever cannot be read is None in them, never an exception."""

    database: Database
    aws: Aws
    pool: Executor
    mode: Mode
    gap_s: float

    def early(self, run: Run, target: Target, episode: Episode | None) -> Situation:
        """What our own records say; AWS is not asked."""
        names = [name for name in (target.id, target.group) if name]
        paused, held = None, None
        try:
            with self.database.read() as connection:
                state = switch.read(connection)
                paused = state.paused if state else None
                held = claims.of(connection, *names)
        except SQLAlchemyError as error:
            _log.error("records_unreadable", run=run.id, error=type(error).__name__)
        return Situation(
            mode=self.mode,
            paused=paused,
            resolved=episode.resolved_at is not None if episode else None,
            last_seen_at=episode.last_seen_at if episode else None,
            gap_s=self.gap_s,
            target=target.id,
            kind=target.kind,
            group=target.group,
            claims=held,
            rung=run.next_rung,
        )

    def ask(self, situation: Situation) -> Callable[[], Situation]:
        """Ask AWS for the target and its group; call what is returned for the answers."""
        target, group = situation.target, situation.group
        instance: Future[fleet.Instance | None] | None = None
        asg: Future[fleet.Group | None] | None = None
        if situation.kind is TargetKind.INSTANCE and target:
            instance = self.pool.submit(self._instance, target)
        if group:
            asg = self.pool.submit(self._group, group)

        def answered() -> Situation:
            return replace(
                situation,
                instance=instance.result() if instance else None,
                asg=asg.result() if asg else None,
            )

        return answered

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
            found = _known(lambda: fleet.by_private_address(self.aws, address))
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

    def _group(self, name: str) -> fleet.Group | None:
        return _known(lambda: fleet.group(self.aws, name))

    def _instance(self, instance_id: str) -> fleet.Instance | None:
        return _known(lambda: fleet.instance(self.aws, instance_id))


def _known(read: Callable[[], _T]) -> _T | None:
    """What `read` gives, or None where its source does not answer."""
    try:
        return read()
    except NotActionableError:
        return None
    except (*AWS_ERRORS, SQLAlchemyError) as error:
        _log.warning("situation_unreadable", error=type(error).__name__)
        return None


def _private_address(instance: str) -> str | None:
    """The address of a scrape target ("10.0.1.7:9100") where it is a private IPv4 one."""
    host, _, _ = instance.partition(":")
    try:
        address = ipaddress.IPv4Address(host)
    except ValueError:
        return None
    return str(address) if address.is_private and not address.is_loopback else None
