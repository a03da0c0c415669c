"""Arms a playbook, one mode at a time, with the figures that justify it; and disarms it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

from sqlalchemy import Connection

from actions.place import HOME, Place
from receiver.controls import arming
from receiver.controls.arming import Scope
from receiver.controls.bounds import Bounds, bounds_of, spent, unmet
from receiver.controls.promotion_criteria import Figures, figures, goes_further, shortfalls
from receiver.controls.records import ALL, ArmedMode, Arming, active, armed_mode
from receiver.db.database import Database
from receiver.playbooks.loader import Playbooks
from receiver.playbooks.schema import Playbook
from receiver.settings import Mode, Settings
from receiver.track_record.record import (
    WEEK_S,
    RecordScope,
    TrackRecord,
    errors_by_service,
    read_record,
)

_ORDER = list(Mode)


class NoSuchPlaybookError(Exception):
    """No playbook of this name is loaded."""


class NotJustifiedError(Exception):
    """The playbook may not be armed to this mode; the text lists the shortfalls."""


@dataclass(frozen=True, kw_only=True)
class ArmRequest:
    """An admin's request to arm a playbook up to `mode`.

    `service` is a group's name, or `ALL`, of the place. `by` is the admin, `comment` the reason.
    `force` overrules the shortfalls, which are recorded.
    """

    playbook: str
    place: Place
    service: str
    mode: Mode
    canary_percent: int
    by: str
    comment: str
    force: bool


@dataclass(frozen=True, kw_only=True)
class Promoter:
    """Arms and disarms; both raise NoSuchPlaybookError. `clock` gives epoch seconds."""

    settings: Settings
    playbooks: Playbooks
    database: Database
    clock: Callable[[], float]

    def arm(self, request: ArmRequest) -> Arming:
        """Allow the playbook the requested mode. Raises NotJustifiedError."""
        playbook, now = self._playbook(request.playbook), self.clock()
        place, service, mode = request.place, request.service, request.mode
        self._check_maximum(playbook, mode)
        with self.database.write() as connection:
            armings = arming.armings_of(connection, request.playbook)
            present = armed_mode(armings, place, service, playbook.digest, required=True)
            last = active(armings, place, service)
            since = last.since if last else None
            counts = figures(connection, playbook, place, service, since)
            record = read_record(
                connection,
                RecordScope(playbook=playbook, place=place, service=service),
                now=now,
                vouched_max=self._bounds.vouched_max,
            )
            against = list(self._shortfalls(present, request, counts, record))
            against += self._spent_budgets(connection, present, request, now)
            if against and not request.force:
                raise NotJustifiedError("; ".join(against))
            new = Arming(
                playbook=request.playbook,
                **vars(place),
                service=service,
                mode=mode,
                canary_percent=request.canary_percent,
                digest=playbook.digest,
                by=request.by,
                comment=request.comment,
                at=now,
                since=since if since is not None and mode is present.mode else now,
                figures={
                    **asdict(counts),
                    **record.stored(acting=mode is Mode.AUTO),
                    "earned": self.settings.arming_required and not against,
                },
                despite=against,
            )
            arming.save(connection, new)
        return new

    def disarm(self, scope: Scope, *, by: str, comment: str) -> Arming:
        """Allow the playbook only to observe, from now on."""
        self._playbook(scope.playbook)
        new = arming.disarmed(scope, by=by, comment=comment, now=self.clock())
        with self.database.write() as connection:
            arming.save(connection, new)
        return new

    def effective_mode(
        self,
        playbook: Playbook,
        armings: Sequence[Arming],
        place: Place = HOME,
        service: str = ALL,
    ) -> Mode:
        """The lowest of the service's mode, the playbook's mode and what its armings allow."""
        required = self.settings.arming_required
        armed = armed_mode(armings, place, service, playbook.digest, required=required).mode
        return min(self.settings.mode, playbook.mode, armed, key=_ORDER.index)

    def _playbook(self, name: str) -> Playbook:
        playbooks = self.playbooks.named(name)
        if not playbooks:
            raise NoSuchPlaybookError
        return playbooks[0]

    def _check_maximum(self, playbook: Playbook, mode: Mode) -> None:
        """Raises NotJustifiedError: no arming exceeds the service's or the playbook's mode."""
        for maximum, whose in ((self.settings.mode, "service"), (playbook.mode, "playbook")):
            if _ORDER.index(mode) > _ORDER.index(maximum):
                raise NotJustifiedError(f"the {whose}'s own mode is {maximum}")

    @cached_property
    def _bounds(self) -> Bounds:
        return bounds_of(self.settings)

    def _shortfalls(
        self, present: ArmedMode, request: ArmRequest, counts: Figures, record: TrackRecord
    ) -> Iterator[str]:
        """The unmet criteria; none if arming is not required and so can only limit the playbook."""
        if not self.settings.arming_required:
            return
        mode, canary_percent = request.mode, request.canary_percent
        yield from shortfalls(present, mode, canary_percent, counts)
        if goes_further(present, mode, canary_percent):
            yield from unmet(mode, request.service, record, self._bounds)

    def _spent_budgets(
        self, connection: Connection, present: ArmedMode, request: ArmRequest, now: float
    ) -> Iterator[str]:
        """The services whose budget of errors is spent, which nobody arms but by force."""
        if not goes_further(present, request.mode, request.canary_percent):
            return
        errors = errors_by_service(connection, since=now - WEEK_S, place=request.place)
        for service, times in errors.items():
            if request.service not in {ALL, service} or not self.settings.arming_required:
                continue
            if why := spent(times, self._bounds, 0.0):
                yield f"in {service} {why}"
