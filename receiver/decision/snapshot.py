"""The snapshot that a decision rests on, read from our own records and from AWS."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from actions.execution import (
    circuit_breakers,
    claims,
    disruption_budget,
    kill_switch,
    ledger,
    rate_limits,
)
from receiver.controls import arming, overrides
from receiver.db.database import Database
from receiver.decision.model import Approval, PastAct, Situation
from receiver.evidence.aws_state import AwsFacts, Source, Target
from receiver.playbooks.schema import Playbook
from receiver.runs import store
from receiver.runs.model import Run
from receiver.runtime.cache import BoundedCache
from receiver.settings import Mode
from receiver.webhook.episodes import Episode

_log = structlog.get_logger()
# Alerts of a group within this time are one storm, and this long our acts may echo in alerts.
_STORM_S, _ECHOES_S = 300.0, 300.0
_RAGING_S = 1.0
# From so many alerting instances of a group on there may be a storm.
MANY = 3


@dataclass(frozen=True, kw_only=True)
class Situations:
    """Reads situations. Whatever cannot be read is None in them, never an exception.

    `resolved` tells which of some runs' alerts are over.
    """

    database: Database
    aws: AwsFacts
    mode: Mode
    gap_s: float
    arming_required: bool
    resolved: Callable[[Sequence[str]], Collection[str]]
    # Who alerts of a group, with when that was read.
    _raging: BoundedCache[str, tuple[float, frozenset[str]]] = field(
        default_factory=BoundedCache, init=False
    )

    def plain(self, run: Run, target: Target, now: float) -> Situation:
        """What the run itself says; nothing is read."""
        return Situation(
            mode=self.mode,
            paused=None,
            resolved=None,
            last_seen_at=None,
            gap_s=self.gap_s,
            target=target.id,
            kind=target.kind,
            group=target.group,
            claims=None,
            rung=run.next_rung,
            approval=_approval(run, now),
        )

    def seen(self, run: Run, situation: Situation, episode: Episode | None) -> Situation:
        """With what the alert's episode says."""
        return replace(
            situation, resolved=_resolved(run, episode), last_seen_at=_last_seen(run, episode)
        )

    def early(self, run: Run, situation: Situation, playbook: Playbook, now: float) -> Situation:
        """With what our own records say; AWS is not asked."""
        try:
            with self.database.read() as connection:
                recorded = replace(
                    _recorded(connection, situation, run, playbook.name, now),
                    arming=arming.armed(
                        arming.of(connection, playbook.name),
                        situation.group or arming.ALL,
                        playbook.digest,
                        required=self.arming_required,
                    ),
                )
                alerting = self._alerting(connection, situation.group or "", now)
            return replace(recorded, alerting=alerting)
        except SQLAlchemyError as error:
            _log.error("records_unreadable", run=run.id, error=type(error).__name__)
            self.aws.unreadable(Source.RECORDS)
            return situation

    def counted_anew(self, situation: Situation, now: float) -> Situation:
        """With who alerts of the group at this moment: more may be a storm by now."""
        self._raging.pop(situation.group or "", None)
        try:
            with self.database.read() as connection:
                alerting = self._alerting(connection, situation.group or "", now)
        except SQLAlchemyError:
            self.aws.unreadable(Source.RECORDS)
            return replace(situation, alerting=None)
        return replace(situation, alerting=alerting)

    def _alerting(self, connection: Connection, group: str, now: float) -> frozenset[str]:
        """Instances of the group that alert. Where many do, they still do a second later."""
        at, known = self._raging.get(group, (0.0, frozenset[str]()))
        if len(known) >= MANY and 0 <= now - at < _RAGING_S:
            return known
        alerts = store.alerting(connection, group, now - _STORM_S)
        over = self.resolved(list(alerts))
        known = frozenset(one for run_id, one in alerts.items() if run_id not in over)
        self._raging[group] = (now, known)
        return known

    def ask(self, situation: Situation, playbook: Playbook, now: float) -> Callable[[], Situation]:
        """Ask AWS for the target and what is around it; call what is returned for the answers."""
        target = Target(id=situation.target, kind=situation.kind, group=situation.group)
        answers = self.aws.look(target, playbook.limits.bounds, now)
        return lambda: replace(situation, **vars(answers()))


def _recorded(
    connection: Connection, situation: Situation, run: Run, playbook: str, now: float
) -> Situation:
    names = [name for name in (situation.target, situation.group) if name]
    state = kill_switch.read_switch(connection)
    group = situation.group or ""
    attempts = {
        name: rate_limits.count(connection, target=name, group=group, playbook=playbook, now=now)
        for name in names
    }
    return replace(
        situation,
        paused=state.paused if state else None,
        claims=claims.claims_on(connection, *names),
        overrides=overrides.of(connection, run.labels, now, group=situation.group),
        attempts=attempts,
        breaker=circuit_breakers.read_breaker(connection, playbook),
        acts=[
            PastAct(run_id=one.run_id, action=one.action, target=one.target, at=one.dispatched_at)
            for one in ledger.dispatched_to(connection, names, now - _ECHOES_S)
            if one.dispatched_at is not None
        ],
        reserved=disruption_budget.reserved_by_others(connection, run.id),
    )


def _resolved(run: Run, episode: Episode | None) -> bool | None:
    if run.asked:
        return False
    return episode.resolved_at is not None if episode else None


def _last_seen(run: Run, episode: Episode | None) -> float | None:
    """When the alert last fired, or a person last wanted it: by asking, or by approving."""
    if run.asked:
        return run.updated_at
    return episode.last_seen_at if episode else None


def _approval(run: Run, now: float) -> Approval | None:
    """A person's yes, for as long as they had to say it: after that they are asked again."""
    if run.approval is None or run.plan is None or run.approval.get("denied"):
        return None
    if now >= run.approval["at"] + run.plan["approval_s"]:
        return None
    return Approval(digest=run.approval["digest"], by=run.approval["by"])
