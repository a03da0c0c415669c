"""Reconciles the ledger with CloudTrail from time to time, and says in metrics what it found."""

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from actions.assurance import cloudtrail, reconcile
from actions.assurance.reconcile import Kind
from actions.aws.clients import Aws
from actions.execution import ledger
from receiver.db.database import Database
from receiver.metrics import Metrics
from receiver.runtime.periodic import Beat

_log = structlog.get_logger()
# What CloudTrail shows late is looked at again by the next.
_OVERLAP_S = 2 * cloudtrail.LATE_S


@dataclass(kw_only=True)
class Reconciling:
    """`beat` is what the thread does every `interval_s`; None is never."""

    interval_s: float | None
    database: Database
    clients: Callable[[], Aws]
    metrics: Metrics
    clock: Callable[[], float]
    _beat: Beat = field(init=False)

    def __post_init__(self) -> None:
        self._beat = Beat("reconciling", self.interval_s or 0.0, self.beat)

    def start(self) -> None:
        if self.interval_s is not None:
            self._beat.start()

    def stop(self) -> None:
        self._beat.stop()

    def beat(self) -> None:
        """Compare the last interval; a failure is counted, and tried again by the next."""
        now = self.clock()
        since = now - (self.interval_s or 0.0) - _OVERLAP_S
        try:
            seen = list(cloudtrail.looked_up(self.clients(), since, now, self._beat.stopping.wait))
            with self.database.read() as connection:
                entries = ledger.sent_since(connection, since - reconcile.TOLERANCE_S)
        except Exception as error:  # noqa: BLE001 whatever it was, the next one is waited for
            self.metrics.reconcile_failures.inc()
            _log.error("reconciliation_failed", error=type(error).__name__)
            return
        mine = reconcile.ours(seen, ())
        found = reconcile.reconcile(entries, mine, since=since, until=now, late=True)
        kinds = [one.kind for one in found.findings]
        for kind in Kind:
            self.metrics.reconcile_findings.labels(kind).set(kinds.count(kind))
        self.metrics.reconciled.set(now)
        for one in found.findings:
            _log.error("reconciliation_finding", kind=str(one.kind), what=one.what, run=one.run_id)
