"""Signs the head of the audit chain at an interval, so that removal of its end is detected."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.exc import SQLAlchemyError

from actions.audit import acceptance, log, signed_heads
from actions.audit.archive import Archive, ArchiveError, archive_at
from actions.audit.captures import Captures
from actions.audit.chain import Checkpoint, Verification
from actions.aws.client_set import Aws
from actions.execution import kill_switch
from receiver.audit.metrics import HeadMetrics
from receiver.db.database import Database
from receiver.runtime.periodic import Periodic
from receiver.runtime.redaction import Redaction
from receiver.settings import Settings

_log = structlog.get_logger()
# A rewrite of records after the last signed head (at most 5 minutes of them) is not detected.
_INTERVAL_S = 300.0


@dataclass(kw_only=True)
class HeadSigner:
    """Signs the head of the audit chain every 5 minutes; without a key it does nothing."""

    settings: Settings
    database: Database
    clients: Callable[[], Aws]
    metrics: HeadMetrics
    clock: Callable[[], float]
    _periodic: Periodic = field(init=False)
    # The last head that this process signed, and the part of the archive that has it.
    _signed: tuple[Archive, Checkpoint] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._periodic = Periodic("head_signer", _INTERVAL_S, self.run_once, at_once=True)

    def start(self) -> None:
        if self.settings.audit_key_file is None:
            return
        # Another receiver may have signed a later head since.
        self._signed = None
        self._periodic.start()

    def stop(self) -> None:
        """Sign the last record of this process."""
        if self._periodic.stop():
            self.run_once()

    def run_once(self) -> None:
        """Sign the head, if there are new records. A failure is logged and tried again.

        Only a chain that contains the last signed head is signed: otherwise a replaced chain would
        get valid heads, and readers of recent heads would not notice.
        """
        key_file = self.settings.audit_key_file
        if key_file is None:
            return
        try:
            key = signed_heads.load_private_key(key_file)
            folder = open_archive(self.settings, self.clients)
            if self._signed is not None and self._signed[0] == folder:
                last_signed: Checkpoint | None = self._signed[1]
            else:
                last_signed = signed_heads.read_newest_head(folder, (key.public_key(),))
            with self.database.read() as connection:
                link = log.last_checkpoint(connection, last_signed)
            if link is None:
                why = "the chain does not contain the last signed head"
                self._failed(why)
                with self.database.write() as connection:
                    kill_switch.distrust(connection, why, self.clock(), everything=True)
            elif link.seq > (last_signed.seq if last_signed else 0):
                # A loss of power must not undo what is signed: the chain would lack it.
                with self.database.write() as connection:
                    log.sync(connection)
                signed_heads.sign(folder, key, link, self.clock())
                self._signed = folder, link
                self.metrics.anchored.set(link.seq)
        except (ArchiveError, signed_heads.KeyFileError) as error:
            self._failed(str(error))
        except SQLAlchemyError as error:
            self._failed(type(error).__name__)

    def verify(self) -> Verification:
        """Verify the chain against the signed heads. Raises ArchiveError and KeyFileError."""
        heads = signed_hashes(self.settings, self.clients)
        with self.database.read() as connection:
            return log.verify(connection, heads)

    def _failed(self, reason: str) -> None:
        self.metrics.failures.inc()
        _log.error("audit_head_signing_failed", reason=reason)


def open_archive(
    settings: Settings, clients: Callable[[], Aws], keys: Collection[Ed25519PublicKey] = ()
) -> Archive:
    """The archive of signed heads and of exports, since the last acceptance.

    Raises ArchiveError, also where none of the `keys`, if any, signed the acceptance.
    """
    return acceptance.current_part(whole_archive(settings, clients), keys)


def whole_archive(settings: Settings, clients: Callable[[], Aws]) -> Archive:
    """The archive with the parts of chains that an admin did not accept."""
    return archive_at(settings.audit_archive, clients, lock_days=settings.audit_lock_days)


def make_captures(
    settings: Settings, clients: Callable[[], Aws], clock: Callable[[], float]
) -> Captures:
    """What keeps evidence in the archive; secrets are removed by the forms that they have."""
    return Captures(
        archive=lambda: whole_archive(settings, clients), redact=Redaction(), clock=clock
    )


def public_keys(settings: Settings) -> Collection[Ed25519PublicKey]:
    """The public keys of the settings, which check signatures. Raises KeyFileError."""
    if settings.audit_key_file is None:
        return ()
    return (signed_heads.load_private_key(settings.audit_key_file).public_key(),)


def signed_hashes(
    settings: Settings,
    clients: Callable[[], Aws],
    keys: Collection[Ed25519PublicKey] = (),
) -> Mapping[int, str]:
    """Signed hashes by record number; none without a key. Raises ArchiveError and KeyFileError."""
    keys = keys or public_keys(settings)
    return signed_heads.read_heads(open_archive(settings, clients, keys), keys) if keys else {}
