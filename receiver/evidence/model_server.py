"""The model in use: fetched, checked against its manifest, and read again when that changes.

Whatever is wrong with it ends in one line of the log, a metric, and undecided verdicts; never
in an exception where an alert is judged. A shadow model judges beside it, and only counts.
"""

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog

from actions.aws.clients import AWS_ERRORS, Aws
from models.features.evidence import Evidence
from models.inference import artifact
from models.inference.artifact import Manifest, Model, ModelError
from models.inference.detector import NO_MODEL, examine
from models.inference.drift import Drift
from models.inference.verdict import Verdict
from receiver.evidence.metrics import ModelMetrics

_log = structlog.get_logger()
_LOOK_EVERY_S = 10.0
_MOST_WAITING = 50


@dataclass(frozen=True, kw_only=True)
class InUse:
    """What judges now; None is no model, for the reason in `problem`."""

    active: Model | None
    shadow: Model | None
    drift: Drift | None
    problem: str | None


class Judging:
    """Judges with the active model of a manifest. Safe for several threads."""

    def __init__(
        self,
        where: str | None,
        manifest: Path | None,
        clients: Callable[[], Aws],
        metrics: ModelMetrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._where = where or str(artifact.SHIPPED)
        self._manifest = manifest or (None if _is_s3(self._where) else self._beside())
        self._clients = clients
        self._metrics = metrics
        self._clock = clock
        self._lock = threading.Lock()
        self._watching = ThreadPoolExecutor(1, "shadow")
        self._room = threading.BoundedSemaphore(_MOST_WAITING)
        self._stamp: tuple[int, int] | None = None
        self._looked = clock()
        self._now: InUse | None = None

    @property
    def in_use(self) -> InUse:
        if self._now is None:
            with self._lock:
                self._now = self._now or self._read()
        self._look()
        return self._now

    def close(self) -> None:
        self._watching.shutdown(cancel_futures=True)

    def judge(self, evidence: Evidence, roles: Collection[str]) -> Verdict:
        now = self.in_use
        examined = examine(now.active, evidence, roles)
        if now.drift is not None and examined.features is not None:
            now.drift.note(examined.features, examined.verdict.score)
        if now.shadow is not None and self._room.acquire(blocking=False):
            # Left out in a storm, or while the service stops: the shadow must not hold alerts up.
            try:
                self._watching.submit(self._compare, now.shadow, evidence, roles, examined.verdict)
            except RuntimeError:
                self._room.release()
        return examined.verdict

    def refresh_gauges(self) -> None:
        now, metrics = self.in_use, self._metrics
        if metrics is None:
            return
        version = NO_MODEL if now.active is None else now.active.version
        metrics.info.clear()
        metrics.info.labels(version).set(1)
        metrics.usable.set(0 if now.active is None else 1)
        features, scores = now.drift.now() if now.drift else (None, None)
        metrics.drift.labels("features").set(features or 0)
        metrics.drift.labels("scores").set(scores or 0)

    def story(self) -> dict[str, Any]:
        """What is in use, as the API tells it."""
        now = self.in_use
        features, scores = now.drift.now() if now.drift else (None, None)
        return {
            "version": None if now.active is None else now.active.version,
            "problem": now.problem,
            "shadow": None if now.shadow is None else now.shadow.version,
            "drift": {"features": features, "scores": scores},
            "card": self._card(),
        }

    def _compare(
        self, shadow: Model, evidence: Evidence, roles: Collection[str], verdict: Verdict
    ) -> None:
        try:
            other = examine(shadow, evidence, roles).verdict
            if self._metrics is not None:
                self._metrics.shadow_verdicts.labels(verdict.answer, other.answer).inc()
        finally:
            self._room.release()

    def _look(self) -> None:
        """Read again where the manifest is another file than it was."""
        if self._clock() - self._looked < _LOOK_EVERY_S or not self._lock.acquire(blocking=False):
            return
        try:
            self._looked = self._clock()
            if self._stamp is None or self._stamp != self._file_stamp():
                self._now = self._read()
        finally:
            self._lock.release()

    def _read(self) -> InUse:
        self._stamp = self._file_stamp()
        try:
            known = self._known()
            active = artifact.load_version(known, known.active, self._fetch)
        except ModelError as error:
            _log.error("no_model", problem=str(error))
            return InUse(active=None, shadow=None, drift=None, problem=str(error))
        _log.info("model", version=active.version)
        parameters = active.parameters
        drift = Drift(parameters.feature_edges, parameters.score_edges)
        return InUse(active=active, shadow=self._shadow(known), drift=drift, problem=None)

    def _shadow(self, known: Manifest) -> Model | None:
        if known.shadow is None:
            return None
        try:
            return artifact.load_version(known, known.shadow, self._fetch)
        except ModelError as error:
            _log.error("no_shadow_model", problem=str(error))
            return None

    def _known(self) -> Manifest:
        if self._manifest is None:
            raise ModelError("a model in S3 needs SMARTCLOUDOPS_MODEL_MANIFEST, a file kept apart")
        try:
            return artifact.parse_manifest(self._manifest.read_bytes())
        except OSError as error:
            raise ModelError(f"{self._manifest}: {error.strerror}") from error

    def _fetch(self, name: str) -> bytes:
        if not _is_s3(self._where):
            return (Path(self._where) / name).read_bytes()
        parts = urlsplit(self._where)
        key = "/".join(filter(None, (parts.path.strip("/"), name)))
        try:
            found = self._clients().s3.get_object(Bucket=parts.netloc, Key=key)
            return found["Body"].read(artifact.MOST_BYTES + 1)
        except AWS_ERRORS as error:
            raise ModelError(f"{name}: S3 does not give it: {type(error).__name__}") from error

    def _card(self) -> Any:
        if _is_s3(self._where):
            return None
        return artifact.read_card(Path(self._where))

    def _beside(self) -> Path:
        return Path(self._where) / artifact.MANIFEST

    def _file_stamp(self) -> tuple[int, int] | None:
        try:
            found = self._manifest.stat() if self._manifest else None
        except OSError:
            return None
        return (found.st_mtime_ns, found.st_ino) if found else None


def _is_s3(where: str) -> bool:
    return where.startswith("s3://")
