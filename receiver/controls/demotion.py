"""Lowers the mode of armed playbooks whose record no longer carries it, without being asked."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import structlog
from sqlalchemy import Connection

from receiver.controls import arming
from receiver.controls.arming import Scope
from receiver.controls.bounds import Bounds, crossed, spent
from receiver.controls.records import ALL, Arming, active
from receiver.db.database import Database
from receiver.playbooks.loader import Playbooks
from receiver.playbooks.schema import Playbook
from receiver.runs.transitions import ACTOR
from receiver.runtime.periodic import Periodic
from receiver.settings import Mode
from receiver.track_record.record import WEEK_S, RecordScope, errors_by_service, read_record

_log = structlog.get_logger()
_EVERY_S = 60.0
_BELOW = {Mode.AUTO: Mode.APPROVE, Mode.APPROVE: Mode.OBSERVE}


@dataclass(kw_only=True)
class Demotion:
    """Checks every minute, and when a run that acted has ended. `clock` gives epoch seconds.

    A mode falls by one level, from `auto` to `approve` to `observe`; the audit record says why, and
    people are told. A service whose budget of errors is spent is disarmed.
    """

    database: Database
    playbooks: Playbooks
    bounds: Bounds
    clock: Callable[[], float]
    _periodic: Periodic = field(init=False)

    def __post_init__(self) -> None:
        self._periodic = Periodic("demotion", _EVERY_S, self.run_once)

    def start(self) -> None:
        self._periodic.start()

    def stop(self) -> None:
        self._periodic.stop()

    def run_once(self) -> None:
        """Check all armings; a failure is logged, and the next minute tries again."""
        try:
            with self.database.read() as connection:
                due = any(self._lowered(connection, self.clock()))
            if due:
                with self.database.write() as connection:
                    self._lower(connection, self.clock())
        except Exception as error:  # noqa: BLE001 the next minute tries again
            _log.error("demotion_failed", error=type(error).__name__)

    def _lower(self, connection: Connection, now: float) -> None:
        for lowered in list(self._lowered(connection, now)):
            arming.save(connection, lowered, "playbook_demoted")
            _log.warning(
                "playbook_demoted",
                playbook=lowered.playbook,
                service=lowered.service or None,
                mode=str(lowered.mode),
                why=lowered.comment,
            )

    def _lowered(self, connection: Connection, now: float) -> Iterator[Arming]:
        for name, armings in arming.list_all(connection).items():
            if not any(each.mode is not Mode.OBSERVE for each in armings):
                continue
            for playbook in self.playbooks.named(name):
                current = [each for each in armings if each.digest == playbook.digest]
                disarmed = list(self._disarmed(connection, armings, current, now))
                yield from disarmed
                gone = {(each.place, each.service) for each in disarmed}
                for each in current:
                    if each.mode is not Mode.OBSERVE and (each.place, each.service) not in gone:
                        yield from self._fallen(connection, playbook, each, now)

    def _disarmed(
        self,
        connection: Connection,
        armings: Sequence[Arming],
        current: Sequence[Arming],
        now: float,
    ) -> Iterator[Arming]:
        """Services that spent their budget, each disarmed by name, for each armed place."""
        for place in {each.place for each in current if each.mode is not Mode.OBSERVE}:
            errors = errors_by_service(connection, since=now - WEEK_S, place=place)
            for service, times in errors.items():
                armed = active(armings, place, service)
                if armed is None or armed not in current or armed.mode is Mode.OBSERVE:
                    continue
                # An admin who arms it again knows of the earlier ones.
                since = 0.0 if armed.by == ACTOR else armed.at
                if why := spent(times, self.bounds, since):
                    scope = Scope(playbook=armed.playbook, place=place, service=service or ALL)
                    yield arming.disarmed(scope, by=ACTOR, comment=why, now=now)

    def _fallen(
        self, connection: Connection, playbook: Playbook, armed: Arming, now: float
    ) -> Iterator[Arming]:
        record = read_record(
            connection,
            RecordScope(playbook=playbook, place=armed.place, service=armed.service),
            now=now,
            vouched_max=self.bounds.vouched_max,
        )
        why = crossed(armed, record, self.bounds)
        if why is None:
            return
        below = _BELOW[armed.mode]
        if below is Mode.OBSERVE:
            scope = Scope(playbook=armed.playbook, place=armed.place, service=armed.service)
            yield arming.disarmed(scope, by=ACTOR, comment=why, now=now)
        else:
            figures = {**armed.figures, **record.stored(acting=True), "earned": False}
            yield replace(
                armed, mode=below, by=ACTOR, comment=why, at=now, since=now, figures=figures
            )
