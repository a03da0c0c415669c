"""Signs the head of the audit chain from time to time, so that its end cannot be cut off unseen."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy.exc import SQLAlchemyError

from actions.audit import log, signed_heads
from actions.audit.archive import Archive, ArchiveError, archive
from actions.audit.chain import Checkpoint, Verification
from actions.aws.clients import Aws
from receiver.db.database import Database
from receiver.metrics import Metrics
from receiver.runtime.periodic import Beat
from receiver.settings import Settings

_log = structlog.get_logger()


@dataclass(kw_only=True)
class Anchoring:
    """`beat` is what the thread does every `interval_s`; without a key there is nothing to do."""

    settings: Settings
    database: Database
    clients: Callable[[], Aws]
    metrics: Metrics
    clock: Callable[[], float]
    _beat: Beat = field(init=False)
    _signed: Checkpoint | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        every_s = self.settings.audit_head_interval_s
        self._beat = Beat("anchoring", every_s, self.beat, at_once=True)

    def start(self) -> None:
        if self.settings.audit_key_file is None:
            return
        # Another receiver may have signed since.
        self._signed = None
        self._beat.start()

    def stop(self) -> None:
        """Sign what was the last."""
        if self._beat.stop():
            self.beat()

    def beat(self) -> None:
        """Sign the head, if it has moved on; a failure is told, and tried again.

        Only a chain that goes on from what was signed for last: else a new one, made in its place,
        would be vouched for by ever more heads, until nobody reads those that tell.
        """
        key_file = self.settings.audit_key_file
        if key_file is None:
            return
        try:
            key, where = signed_heads.signing_key(key_file), kept(self.settings, self.clients)
            known = self._signed or signed_heads.newest(where, (key.public_key(),))
            with self.database.read() as connection:
                link = log.end(connection, known)
            if link is None:
                self._failed("what was signed for is not in the chain any more")
            elif link.seq > (known.seq if known else 0):
                signed_heads.publish(where, key, link, self.clock())
                self._signed = link
                self.metrics.audit_anchored.set(link.seq)
        except (ArchiveError, signed_heads.KeyFileError) as error:
            self._failed(str(error))
        except SQLAlchemyError as error:
            self._failed(type(error).__name__)

    def verify(self) -> Verification:
        """The chain in the database, against the signed heads. Raises as `known_heads` does."""
        found = known_heads(self.settings, self.clients)
        with self.database.read() as connection:
            return log.verify(connection, found)

    def _failed(self, why: str) -> None:
        self.metrics.audit_anchor_failures.inc()
        _log.error("audit_head_unsigned", why=why)


def kept(settings: Settings, clients: Callable[[], Aws]) -> Archive:
    """Where the heads are, and where an export goes."""
    return archive(settings.audit_archive, clients, lock_days=settings.audit_lock_days)


def keys(settings: Settings) -> Collection[Ed25519PublicKey]:
    """What a signature is checked with. Raises KeyFileError."""
    if settings.audit_key_file is None:
        return ()
    return (signed_heads.signing_key(settings.audit_key_file).public_key(),)


def known_heads(
    settings: Settings,
    clients: Callable[[], Aws],
    checked_with: Collection[Ed25519PublicKey] = (),
) -> Mapping[int, str]:
    """Hashes by number; none where no key is set. Raises ArchiveError and KeyFileError."""
    found = checked_with or keys(settings)
    return signed_heads.read(kept(settings, clients), found) if found else {}
