"""Signs the head of the audit chain from time to time, so that its end cannot be cut off unseen."""

import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from actions import audit, heads
from actions.archive import Archive, ArchiveError, archive
from actions.aws import Aws
from actions.chain import Link, Verification
from actions.tables import audit_head
from receiver.database import Database
from receiver.metrics import Metrics
from receiver.settings import Settings

_log = structlog.get_logger()
_STOP_S = 5.0


@dataclass(kw_only=True)
class Anchoring:
    """`beat` is what the thread does every `interval_s`; without a key there is nothing to do."""

    settings: Settings
    database: Database
    clients: Callable[[], Aws]
    metrics: Metrics
    clock: Callable[[], float]
    _stopping: threading.Event = field(default_factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _signed: int = field(default=0, init=False)

    def start(self) -> None:
        if self.settings.audit_key_file is None:
            return
        self._stopping.clear()
        self._thread = threading.Thread(target=self._loop, name="anchoring", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Sign what was the last."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_STOP_S)
            self._thread = None
            self.beat()

    def beat(self) -> None:
        """Sign the head, if it has moved on; a failure is told, and tried again."""
        key_file = self.settings.audit_key_file
        if key_file is None:
            return
        try:
            with self.database.read() as connection:
                head = connection.execute(select(audit_head)).one()
            if head.seq > self._signed:
                key, now = heads.signing_key(key_file), self.clock()
                where = kept(self.settings, self.clients)
                heads.publish(where, key, Link(head.seq, head.hash), now)
                self._signed = head.seq
                self.metrics.audit_anchored.set(head.seq)
        except (ArchiveError, heads.KeyFileError) as error:
            self._failed(str(error))
        except SQLAlchemyError as error:
            self._failed(type(error).__name__)

    def verify(self) -> Verification:
        """The chain in the database, against the signed heads. Raises as `known_heads` does."""
        found = known_heads(self.settings, self.clients)
        with self.database.read() as connection:
            return audit.verify(connection, found)

    def _loop(self) -> None:
        self.beat()
        while not self._stopping.wait(self.settings.audit_head_interval_s):
            self.beat()

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
    return (heads.signing_key(settings.audit_key_file).public_key(),)


def known_heads(
    settings: Settings,
    clients: Callable[[], Aws],
    checked_with: Collection[Ed25519PublicKey] = (),
) -> Mapping[int, str]:
    """Hashes by number; none where no key is set. Raises ArchiveError and KeyFileError."""
    found = checked_with or keys(settings)
    return heads.read(kept(settings, clients), found) if found else {}
