"""Reconciles the ledger with CloudTrail at an interval; findings go to metrics and the log."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from actions.assurance import cloudtrail, reconcile
from actions.assurance.reconcile import Finding, FindingKind
from actions.aws.client_set import Aws
from actions.execution import kill_switch, ledger
from actions.place import HOME, Place
from actions.tables import audit
from receiver.audit.continuity import ACCEPTED
from receiver.audit.metrics import ReconcileMetrics
from receiver.db.database import Database
from receiver.runtime.periodic import Periodic

_log = structlog.get_logger()
# CloudTrail delivers late, so each comparison covers the end of the previous interval again.
_OVERLAP_S = 2 * cloudtrail.DELIVERY_DELAY_S


@dataclass(kw_only=True)
class CloudTrailCheck:
    """Runs every `interval_s`; None turns it off."""

    interval_s: float | None
    database: Database
    aws_at: Callable[[Place], Aws]
    places: Sequence[Place] = (HOME,)
    metrics: ReconcileMetrics
    clock: Callable[[], float]
    _periodic: Periodic = field(init=False)

    def __post_init__(self) -> None:
        self._periodic = Periodic("cloudtrail_check", self.interval_s or 0.0, self.run_once)

    def start(self) -> None:
        if self.interval_s is not None:
            self._periodic.start()

    def stop(self) -> None:
        self._periodic.stop()

    def run_once(self) -> None:
        """Compare the last interval. A failure is counted, and the next interval tries again.

        Each place is compared with its own CloudTrail; a failure of one hides no finding of others.
        """
        now = self.clock()
        compared = [self._compare(place, now) for place in self.places]
        found = [finding for findings in compared for finding in findings or ()]
        kinds = [finding.kind for finding in found]
        if None in compared and not found:
            return
        for kind in FindingKind:
            self.metrics.findings.labels(kind).set(kinds.count(kind))
        if None not in compared:
            self.metrics.finished.set(now)
        for finding in found:
            _log.error(
                "ledger_difference_found",
                kind=str(finding.kind),
                finding=finding.what,
                run=finding.run_id,
            )
        try:
            distrust_findings(self.database, found, now)
        except SQLAlchemyError as error:
            _log.error("service_not_paused", findings=len(found), error=type(error).__name__)

    def _compare(self, place: Place, now: float) -> Sequence[Finding] | None:
        """The differences of a place; None where they cannot be read."""
        since = now - (self.interval_s or 0.0) - _OVERLAP_S
        try:
            events = list(
                cloudtrail.look_up_calls(
                    self.aws_at(place), since, now, self._periodic.stopping.wait
                )
            )
            with self.database.read() as connection:
                entries = ledger.sent_since(connection, since - reconcile.TOLERANCE_S)
        except Exception as error:  # noqa: BLE001 the next interval tries again
            self.metrics.failures.inc()
            _log.error("reconciliation_failed", error=type(error).__name__)
            return None
        calls = reconcile.select_own(events, ())
        own = [entry for entry in entries if entry.place == place]
        return reconcile.reconcile(own, calls, since=since, until=now, late=True).findings


def distrust_findings(database: Database, findings: Sequence[Finding], now: float) -> None:
    """Pause the service for findings that no admin has accepted. Raises SQLAlchemyError."""
    if not findings:
        return
    query = select(func.max(audit.c.at)).where(audit.c.event == ACCEPTED)
    with database.write() as connection:
        accepted_at = connection.execute(query).scalar_one_or_none() or 0.0
        new = [finding for finding in findings if finding.at > accepted_at]
        if new:
            kind = str(new[0].kind).replace("_", " ")
            run = f" of run {new[0].run_id}" if new[0].run_id else ""
            why = (
                f"{len(new)} differences between ledger and CloudTrail: {kind}, {new[0].what}{run}"
            )
            kill_switch.distrust(connection, why, now, everything=False)
