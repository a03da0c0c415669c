"""Holds the records against what the archive and CloudTrail have, before the service acts.

A database that was restored from a backup lacks its newest records: no guard knows what was done
since. Such records pause the service until an admin accepts them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from actions.assurance import cloudtrail, reconcile
from actions.assurance.cloudtrail import TrailError
from actions.assurance.reconcile import FindingKind
from actions.audit import acceptance, export, log, signed_heads
from actions.audit.archive import ArchiveError
from actions.audit.signed_heads import KeyFileError, UnsignedError
from actions.aws.client_set import Aws
from actions.aws.errors import AWS_ERRORS
from actions.execution import kill_switch, ledger
from actions.execution.kill_switch import Switch
from actions.tables import audit
from receiver.audit.head_signer import open_archive, public_keys, whole_archive
from receiver.db.database import Database, describe_error
from receiver.runtime.periodic import Periodic
from receiver.settings import Settings

_log = structlog.get_logger()
_RETRY_S = 10.0
ACCEPTED = "audit_accepted"


@dataclass(kw_only=True)
class Continuity:
    """`problem` says why it is unknown whether the records are complete; None where it is known."""

    settings: Settings
    database: Database
    clients: Callable[[], Aws]
    clock: Callable[[], float]
    problem: str | None = field(default="the records have not been checked yet", init=False)
    _proceed: Callable[[], None] = field(default=lambda: None, init=False)
    # The time of the last record before this process wrote any.
    _last_at: float | None = field(default=None, init=False)
    _periodic: Periodic = field(init=False)

    def __post_init__(self) -> None:
        self._periodic = Periodic("continuity", _RETRY_S, self.run_once, at_once=True)

    def check(self) -> None:
        """Pause everything if the records lack something that the archive or CloudTrail has."""
        try:
            lacking = self._lacking_record() or self._lacking_call()
            if lacking is not None:
                why = f"the records lack {lacking}: was the database restored from a backup?"
                with self.database.write() as connection:
                    kill_switch.distrust(connection, why, self.clock(), everything=True)
        except SQLAlchemyError as error:
            self.problem = describe_error(error)
        except AWS_ERRORS as error:
            self.problem = f"AWS did not answer: {type(error).__name__}"
        except (ArchiveError, KeyFileError, TrailError) as error:
            self.problem = str(error)
        else:
            self.problem = None
            return
        _log.error("records_check_failed", reason=self.problem)

    def note_last_record(self) -> None:
        """Remember when the records ended, before this process adds to them."""
        with self.database.read() as connection:
            self._last_at = connection.execute(select(func.max(audit.c.at))).scalar_one_or_none()

    def start(self, proceed: Callable[[], None]) -> None:
        """Check, and call `proceed` once it is known whether the records are complete.

        AWS is asked in the background: alerts must not wait for it.
        """
        self._proceed = proceed
        remote = self.settings.audit_archive.startswith("s3://")
        if not remote and self.settings.reconcile_interval_s is None:
            self.run_once()
        if self.problem is not None:
            self._periodic.start()

    def stop(self) -> None:
        self._periodic.stop()

    def why_distrusted(self) -> str | None:
        """Why the records are not trusted, or None. Raises SQLAlchemyError."""
        if self.problem is not None:
            return self.problem
        with self.database.read() as connection:
            return kill_switch.why_distrusted(connection)

    def resume(self, *, by: str, comment: str) -> Switch:
        """Resume; records that were not trusted are accepted as they are.

        Raises ArchiveError and KeyFileError.
        """
        with self.database.read() as connection:
            why = kill_switch.why_distrusted(connection)
            end = log.last_checkpoint(connection, None)
        now, key_file = self.clock(), self.settings.audit_key_file
        if why is not None and end is not None and self._lacking_record() is not None:
            key = None if key_file is None else signed_heads.load_private_key(key_file)
            whole = whole_archive(self.settings, self.clients)
            acceptance.begin_part(whole, key, end, now)
        with self.database.write() as connection:
            if why is not None:
                detail = {"comment": comment, "why": why}
                log.append(connection, now, log.Event(actor=by, event=ACCEPTED, detail=detail))
            return kill_switch.set_paused(connection, paused=False, by=by, comment=comment, now=now)

    def run_once(self) -> None:
        self.check()
        if self.problem is None:
            self._periodic.stopping.set()
            self._proceed()

    def _lacking_record(self) -> str | None:
        """The newest record of the archive, if the chain does not have it."""
        keys = public_keys(self.settings)
        try:
            archive = open_archive(self.settings, self.clients, keys)
        except UnsignedError:
            return "an acceptance signed with SMARTCLOUDOPS_AUDIT_KEY_FILE"
        newest = {"exported record": export.last_exported(archive)}
        if keys:
            head = signed_heads.read_newest_head(archive, keys)
            if head is not None:
                newest["signed head"] = head
            elif signed_heads.list_numbers(archive):
                return "a head signed with SMARTCLOUDOPS_AUDIT_KEY_FILE"
        with self.database.read() as connection:
            for name, checkpoint in newest.items():
                if checkpoint.seq and log.last_checkpoint(connection, checkpoint) is None:
                    return f"the {name} {checkpoint.seq}"
        return None

    def _lacking_call(self) -> str | None:
        """The run of a call to AWS since the last record, if the ledger does not have it."""
        if self.settings.reconcile_interval_s is None:
            return None
        now = self.clock()
        last_at = now if self._last_at is None else self._last_at
        since = max(last_at, now - cloudtrail.EVENTS_KEPT_S)
        with self.database.read() as connection:
            entries = ledger.sent_since(connection, since - reconcile.TOLERANCE_S)
        calls = reconcile.select_own(cloudtrail.look_up_calls(self.clients(), since, now), ())
        result = reconcile.reconcile(entries, calls, since=since, until=now, late=True)
        for finding in result.findings:
            if finding.kind is FindingKind.CALL_WITHOUT_ENTRY and finding.run_id:
                return f"the call {finding.what} of run {finding.run_id}"
        return None
