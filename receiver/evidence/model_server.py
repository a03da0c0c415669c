"""Serves the model: loads it, checks it against its manifest, and reloads it on a change.

If a model cannot be loaded, this is logged and counted, and verdicts are undecided; judging an
alert never raises. A shadow model judges the same evidence, and its verdicts are only counted.
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

from actions.atomic_file import file_stamp
from actions.aws.client_set import Aws
from actions.aws.errors import AWS_ERRORS
from models.features.evidence import Evidence
from models.inference import artifact
from models.inference.artifact import Manifest, Model, ModelError
from models.inference.detector import NO_MODEL, examine
from models.inference.drift import Drift
from models.inference.verdict import Verdict
from receiver.evidence.metrics import ModelMetrics

_log = structlog.get_logger()
_CHECK_MANIFEST_S = 10.0
# Alerts that may wait for the shadow model; in a storm it skips the others.
_SHADOW_BACKLOG = 50


@dataclass(frozen=True, kw_only=True)
class LoadedModels:
    """The models in use; if `active` is None, `problem` has the reason."""

    active: Model | None
    shadow: Model | None
    drift: Drift | None
    problem: str | None


class ModelServer:
    """Judges alerts with the active model of a manifest. Thread-safe."""

    def __init__(
        self,
        location: str | None,
        manifest: Path | None,
        clients: Callable[[], Aws],
        metrics: ModelMetrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._location = location or str(artifact.SHIPPED)
        self._manifest = manifest or (None if _is_s3(self._location) else self._shipped_manifest())
        self._clients = clients
        self._metrics = metrics
        self._clock = clock
        self._lock = threading.Lock()
        self._shadowing = ThreadPoolExecutor(1, "shadow")
        self._shadow_slots = threading.BoundedSemaphore(_SHADOW_BACKLOG)
        self._manifest_stamp: tuple[int, int, int] | None = None
        self._checked_at = clock()
        self._loaded: LoadedModels | None = None

    @property
    def loaded(self) -> LoadedModels:
        if self._loaded is None:
            with self._lock:
                self._loaded = self._loaded or self._load()
        self._reload_if_changed()
        return self._loaded

    def close(self) -> None:
        self._shadowing.shutdown(cancel_futures=True)

    def judge(self, evidence: Evidence, roles: Collection[str]) -> Verdict:
        loaded = self.loaded
        examined = examine(loaded.active, evidence, roles)
        if loaded.drift is not None and examined.features is not None:
            loaded.drift.record(examined.features, examined.verdict.score)
        if loaded.shadow is not None and self._shadow_slots.acquire(blocking=False):
            # Skipped in a storm and while the service stops, so that the shadow delays no alert.
            try:
                self._shadowing.submit(
                    self._compare, loaded.shadow, evidence, roles, examined.verdict
                )
            except RuntimeError:
                self._shadow_slots.release()
        return examined.verdict

    def refresh_gauges(self) -> None:
        loaded, metrics = self.loaded, self._metrics
        if metrics is None:
            return
        version = NO_MODEL if loaded.active is None else loaded.active.version
        metrics.info.clear()
        metrics.info.labels(version).set(1)
        metrics.usable.set(0 if loaded.active is None else 1)
        features, scores = loaded.drift.indices() if loaded.drift else (None, None)
        metrics.drift.labels("features").set(features or 0)
        metrics.drift.labels("scores").set(scores or 0)

    def status(self) -> dict[str, Any]:
        """The loaded models, as the API shows them."""
        loaded = self.loaded
        features, scores = loaded.drift.indices() if loaded.drift else (None, None)
        return {
            "version": None if loaded.active is None else loaded.active.version,
            "problem": loaded.problem,
            "shadow": None if loaded.shadow is None else loaded.shadow.version,
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
            self._shadow_slots.release()

    def _reload_if_changed(self) -> None:
        """Load the model again if the manifest file changed."""
        if self._clock() - self._checked_at < _CHECK_MANIFEST_S or not self._lock.acquire(
            blocking=False
        ):
            return
        try:
            self._checked_at = self._clock()
            if self._manifest_stamp is None or self._manifest_stamp != file_stamp(self._manifest):
                self._loaded = self._load()
        finally:
            self._lock.release()

    def _load(self) -> LoadedModels:
        self._manifest_stamp = file_stamp(self._manifest)
        try:
            manifest = self._read_manifest()
            active = artifact.load_version(manifest, manifest.active, self._fetch)
        except ModelError as error:
            _log.error("model_load_failed", reason=str(error))
            return LoadedModels(active=None, shadow=None, drift=None, problem=str(error))
        _log.info("model_loaded", version=active.version)
        parameters = active.parameters
        drift = Drift(parameters.feature_edges, parameters.score_edges)
        return LoadedModels(
            active=active, shadow=self._load_shadow(manifest), drift=drift, problem=None
        )

    def _load_shadow(self, manifest: Manifest) -> Model | None:
        if manifest.shadow is None:
            return None
        try:
            return artifact.load_version(manifest, manifest.shadow, self._fetch)
        except ModelError as error:
            _log.error("shadow_model_load_failed", reason=str(error))
            return None

    def _read_manifest(self) -> Manifest:
        if self._manifest is None:
            raise ModelError(
                "a model in S3 needs a local manifest: set SMARTCLOUDOPS_MODEL_MANIFEST"
            )
        try:
            return artifact.parse_manifest(self._manifest.read_bytes())
        except OSError as error:
            raise ModelError(f"{self._manifest}: {error.strerror}") from error

    def _fetch(self, name: str) -> bytes:
        if not _is_s3(self._location):
            return (Path(self._location) / name).read_bytes()
        parts = urlsplit(self._location)
        key = "/".join(filter(None, (parts.path.strip("/"), name)))
        try:
            answer = self._clients().s3.get_object(Bucket=parts.netloc, Key=key)
            return answer["Body"].read(artifact.MOST_BYTES + 1)
        except AWS_ERRORS as error:
            raise ModelError(f"{name} cannot be read from S3: {type(error).__name__}") from error

    def _card(self) -> Any:
        if _is_s3(self._location):
            return None
        return artifact.read_card(Path(self._location))

    def _shipped_manifest(self) -> Path:
        return Path(self._location) / artifact.MANIFEST


def _is_s3(location: str) -> bool:
    return location.startswith("s3://")
