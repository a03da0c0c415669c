"""Arming a playbook, one mode after the other, with the figures that justify it; and disarming."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from receiver.controls import arming
from receiver.controls.arming import Armed, Arming, armed
from receiver.controls.promotion_criteria import Figures, figures, shortfalls
from receiver.db.database import Database
from receiver.playbooks.loader import Playbooks
from receiver.playbooks.schema import Playbook
from receiver.settings import Mode, Settings

_ORDER = list(Mode)


class NoSuchPlaybookError(Exception):
    """No playbook of this name is loaded."""


class NotJustifiedError(Exception):
    """It may not be armed so far; the text says all that speaks against it."""


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """Both methods raise NoSuchPlaybookError. `by` is who, `comment` why.

    `service` is a group's name, or `arming.ALL`. `clock` gives epoch seconds.
    """

    settings: Settings
    playbooks: Playbooks
    database: Database
    clock: Callable[[], float]

    def arm(  # noqa: PLR0913 one argument a part of what is said
        self,
        name: str,
        service: str,
        mode: Mode,
        *,
        canary_percent: int,
        by: str,
        comment: str,
        force: bool,
    ) -> Arming:
        """Let it go as far as `mode`; `force` overrules what its record says, on record.

        Raises NotJustifiedError.
        """
        playbook, now = self._playbook(name), self.clock()
        self._within(playbook, mode)
        with self.database.write() as connection:
            known = arming.of(connection, name)
            present = armed(known, service, playbook.digest, required=True)
            last = arming.holding(known, service)
            since = last.since if last else None
            found = figures(connection, playbook, service, since)
            against = self._against(present, mode, canary_percent, found)
            if against and not force:
                raise NotJustifiedError("; ".join(against))
            made = Arming(
                playbook=name,
                service=service,
                mode=mode,
                canary_percent=canary_percent,
                digest=playbook.digest,
                by=by,
                comment=comment,
                at=now,
                since=since if since is not None and mode is present.mode else now,
                figures=asdict(found),
                despite=against,
            )
            arming.put(connection, made)
        return made

    def disarm(self, name: str, service: str, *, by: str, comment: str) -> Arming:
        """Have it only observe, from this moment on."""
        self._playbook(name)
        made = arming.disarmed(name, service, by=by, comment=comment, now=self.clock())
        with self.database.write() as connection:
            arming.put(connection, made)
        return made

    def goes(self, playbook: Playbook, known: Sequence[Arming], service: str = arming.ALL) -> Mode:
        """How far a playbook may go for a service: the weakest of what is said."""
        required = self.settings.arming_required
        let = armed(known, service, playbook.digest, required=required).mode
        return min(self.settings.mode, playbook.mode, let, key=_ORDER.index)

    def _playbook(self, name: str) -> Playbook:
        found = self.playbooks.named(name)
        if not found:
            raise NoSuchPlaybookError
        return found[0]

    def _within(self, playbook: Playbook, mode: Mode) -> None:
        """What the service and the playbook's file say, no arming raises."""
        for most, whose in ((self.settings.mode, "service"), (playbook.mode, "playbook")):
            if _ORDER.index(mode) > _ORDER.index(most):
                raise NotJustifiedError(f"the {whose}'s own mode is {most}")

    def _against(
        self, present: Armed, mode: Mode, canary_percent: int, found: Figures
    ) -> Sequence[str]:
        """Where it need not be armed, an arming only limits it."""
        if not self.settings.arming_required:
            return ()
        return list(shortfalls(present, mode, canary_percent, found, self.settings.arming_evidence))
