"""Records in the audit which launch-template versions the members of opted-in groups are well with.

A version is healthy once at least four of five of its members have served without an alert for five
minutes, at each look; it is ill once fewer do and no member has another version, whose failure may
overload the rest. What was not seen is never guessed.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Connection, bindparam, or_, select
from sqlalchemy.exc import SQLAlchemyError

from actions.audit import log
from actions.audit.chain import BEFORE_FIRST, Checkpoint
from actions.aws.errors import AWS_ERRORS
from actions.aws.groups import Group
from actions.aws.tags import OPT_IN_TAG
from actions.aws.target_errors import NotActionableError
from actions.driver import Statement
from actions.place import HOME, Place
from actions.tables import audit, is_at
from receiver.db.database import Database
from receiver.db.tables import runs
from receiver.decision.versions import SeenVersion, version_of
from receiver.runs import store
from receiver.runtime.periodic import Periodic
from receiver.runtime.rfc3339 import DAY_S

_log = structlog.get_logger()
HEALTHY, ILL = "version_healthy", "version_ill"
_EVERY_S, _PROVEN_AFTER_S, _ALERTING_S = 30.0, 300.0, 300.0
# So many groups are read a second, at most: 500 groups take a look every four minutes.
_GROUPS_PER_S = 2.0
# After a break of more intervals nobody knows what happened meanwhile.
_BREAK = 3
# A record is repeated, so that it outlives the retention of the audit.
_REPEAT_S = DAY_S
_SHARE = 0.8
# Account, region, group, launch template and version.
_Key = tuple[str, str, str, str, str]
# Built once, as each decision asks.
_NEW = Statement(
    select(audit)
    .where(
        audit.c.seq > bindparam("after"),
        audit.c.seq <= bindparam("last"),
        audit.c.event.in_((HEALTHY, ILL)),
    )
    .order_by(audit.c.seq)
)


@dataclass(kw_only=True)
class VersionRecords:
    """The recorded versions, by group, read from the audit: what is new since the last time.

    Records without a place are of the service's `own`.
    """

    own: Place = HOME
    _seen: dict[_Key, tuple[SeenVersion, float]] = field(default_factory=dict, init=False)
    _read_to: Checkpoint = field(default=BEFORE_FIRST, init=False)

    def read(self, connection: Connection, place: Place, group: str) -> Sequence[SeenVersion]:
        """Raises SQLAlchemyError."""
        self.read_new(connection)
        wanted = (place.account, place.region, group)
        return [version for key, (version, _) in list(self._seen.items()) if key[:3] == wanted]

    def recorded(self, key: _Key) -> tuple[SeenVersion, float] | None:
        """The last record of this group, template and version that was read, and its time."""
        return self._seen.get(key)

    def read_new(self, connection: Connection) -> None:
        """Raises SQLAlchemyError."""
        # Otherwise each decision would look again at all records since the last of these.
        after, last = log.read_head(connection, self._read_to)
        between = {"after": after.seq, "last": last.seq}
        for row in _NEW.rows(connection, between):
            detail = json.loads(row["detail"])
            place = detail.get("account", self.own.account), detail.get("region", self.own.region)
            key = (*place, detail["group"], detail["template"], detail["version"])
            version = SeenVersion(
                group=detail["group"],
                template=detail["template"],
                version=detail["version"],
                since=detail["since"],
                healthy=row["event"] == HEALTHY,
            )
            self._seen[key] = (version, row["at"])
        self._read_to = last


@dataclass(kw_only=True)
class VersionWatch:
    """Looks every half minute, or less often where there are many groups.

    `read_groups` reads all groups of a place.

    `clock` gives epoch seconds.
    """

    database: Database
    records: VersionRecords
    places: Sequence[Place] = (HOME,)
    read_groups: Callable[[Place], Sequence[Group]]
    clock: Callable[[], float]
    _since: dict[_Key, float] = field(default_factory=dict, init=False)
    _looked_at: dict[Place, float] = field(default_factory=dict, init=False)
    _groups: dict[Place, int] = field(default_factory=dict, init=False)
    _looks_at: float = field(default=0.0, init=False)
    _periodic: Periodic = field(init=False)

    def __post_init__(self) -> None:
        self._periodic = Periodic("version_watch", _EVERY_S, self.run_once, at_once=True)

    def start(self) -> None:
        self._periodic.start()

    def stop(self) -> None:
        self._periodic.stop()

    def run_once(self) -> None:
        """Look at all groups, if it is time. A failed look proves nothing; the next one follows."""
        if (now := self.clock()) < self._looks_at:
            return
        for place in self.places:
            self._look(place, self.clock())
        # A tick comes a little early or late.
        self._looks_at = now + self._every_s - _EVERY_S / 2

    @property
    def _every_s(self) -> float:
        return max(_EVERY_S, sum(self._groups.values()) / _GROUPS_PER_S)

    def _look(self, place: Place, now: float) -> None:
        try:
            groups = [
                group for group in self.read_groups(place) if group.tags.get(OPT_IN_TAG) == "true"
            ]
            self._groups[place] = len(groups)
            with self.database.write() as connection:
                self._record(connection, place, groups, now)
        except (*AWS_ERRORS, NotActionableError, KeyError, SQLAlchemyError) as error:
            _log.warning("versions_read_failed", error=type(error).__name__)

    def _record(
        self, connection: Connection, place: Place, groups: Sequence[Group], now: float
    ) -> None:
        here = (place.account, place.region)
        since = {key: at for key, at in self._since.items() if key[:2] == here}
        if now - self._looked_at.get(place, 0.0) > _BREAK * self._every_s:
            since = {}
        self._looked_at[place] = now
        self.records.read_new(connection)
        recent = now - _ALERTING_S
        alerting = _groups_with_alerts(connection, place, recent)
        looked: dict[_Key, bool] = {}
        for group in groups:
            ill = set[str]()
            if group.name in alerting:
                reports = store.alerting_instances(connection, place, group.name, recent)
                ill = {report.instance_id for report in reports}
            looked |= _looks(place, group, ill)
        well = {key for key, healthy in looked.items() if healthy}
        elsewhere = {key: at for key, at in self._since.items() if key[:2] != here}
        self._since = elsewhere | {key: since.get(key, now) for key in well}
        events = [
            event
            for key, healthy in looked.items()
            if (event := self._event(key, healthy=healthy, now=now))
        ]
        log.append(connection, now, *events)

    def _event(self, key: _Key, *, healthy: bool, now: float) -> log.Event | None:
        """The record that is new about this version, or None."""
        before = self.records.recorded(key)
        since = self._since.get(key, now)
        if healthy and now - since >= _PROVEN_AFTER_S:
            known = before is not None and before[0].healthy and now - before[1] < _REPEAT_S
            # It may have been away meanwhile, and is the latest again.
            if known and before is not None and before[0].since >= since:
                return None
            return _event_of(HEALTHY, key, since)
        if not healthy and before is not None and before[0].healthy:
            return _event_of(ILL, key, before[0].since)
        return None


def _groups_with_alerts(
    connection: Connection, place: Place, since: float
) -> Collection[str | None]:
    here = or_(runs.c.account.is_(None), is_at(runs, place))
    query = select(runs.c.group_name).where(runs.c.received_at >= since, here)
    return set(connection.scalars(query.distinct()))


def _looks(place: Place, group: Group, alerting: Collection[str]) -> Iterator[tuple[_Key, bool]]:
    """Whether the members are well, by version."""
    well: dict[_Key, list[bool]] = defaultdict(list)
    for member in group.members.values():
        version = version_of(member)
        if version is not None and member.lifecycle == "InService":
            well[(place.account, place.region, group.name, *version)].append(
                member.healthy and member.id not in alerting
            )
    for key, members in well.items():
        healthy = sum(members) >= _SHARE * len(members)
        if healthy or len(well) == 1:
            yield key, healthy


def _event_of(event: str, key: _Key, since: float) -> log.Event:
    names = ("account", "region", "group", "template", "version")
    named = {name: value for name, value in zip(names, key, strict=True) if value}
    detail = named | {"since": since}
    return log.Event(actor="smartcloudops", event=event, detail=detail)
