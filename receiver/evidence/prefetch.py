"""Reads the past of targets whose alerts are pending, before they fire.

A week of an instance's metrics is the slowest read of a decision, and a pending alert (a rule with
a `for`) announces the instance. Without a prefetch the evidence is the same, but later.
"""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

import structlog

from receiver.evidence.metrics_query import MetricsReader, PastMetrics
from receiver.evidence.prometheus.answers import PrometheusError
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.roles.of_alert import roles_of_alert
from receiver.playbooks.loader import Playbooks
from receiver.runtime.periodic import Periodic

_log = structlog.get_logger()
_PENDING = 'ALERTS{alertstate="pending",instance_id!=""}'
_INTERVAL_S = 2.0
# Seconds until a pending target's past is read again, and until it is dropped.
_READ_AGAIN_S, _DROP_AFTER_S = 20.0, 300.0
# More pending targets than this are a storm: no prefetch then adds load to Prometheus.
_TARGETS_MAX = 16


@dataclass(kw_only=True)
class Prefetcher:
    """Reads in its own thread; `clock` gives epoch seconds.

    `prefetch_aws` makes the slow reads of AWS about the targets and groups of these labels.
    """

    reader: MetricsReader
    playbooks: Playbooks
    clock: Callable[[], float] = time.time
    prefetch_aws: Callable[[Collection[str], Mapping[str, str], float], None] = lambda _, __, ___: (
        None
    )
    _pasts: dict[str, PastMetrics] = field(default_factory=dict, init=False)
    _periodic: Periodic = field(init=False)

    def __post_init__(self) -> None:
        self._periodic = Periodic("prefetch", _INTERVAL_S, self._run_once, stop_wait_s=0.0)

    def start(self) -> None:
        self._periodic.start()

    def stop(self) -> None:
        """Stop without waiting for running queries."""
        self._periodic.stop()

    def get(self, target_id: str) -> PastMetrics | None:
        """The past that was last read for the target."""
        return self._pasts.get(target_id)

    def read_pending(self) -> None:
        """Read the past of every target whose alert is pending now."""
        now = self.clock()
        pasts = {
            target_id: past
            for target_id, past in self._pasts.items()
            if now - past.at < _DROP_AFTER_S
        }
        for target_id, (labels, prometheus) in self._pending(now).items():
            if self._periodic.stopping.is_set():
                return
            roles = roles_of_alert(labels)
            names = [name for name in (target_id, labels.get("asg")) if name]
            self.prefetch_aws(names, labels, now)
            previous = pasts.get(target_id)
            young = previous is not None and now - previous.at < _READ_AGAIN_S
            # The week's end moves every five minutes.
            if previous is None or not young or not previous.serves(now, roles):
                reader = replace(self.reader, prometheus=prometheus)
                past = reader.read_past(target_id, self.clock(), roles, previous)
                if past is not None:
                    pasts[target_id] = past
            self._pasts = dict(pasts)
        self._pasts = pasts

    def _pending(self, now: float) -> Mapping[str, tuple[Mapping[str, str], Prometheus]]:
        """Pending alerts that the model will judge, by instance; none in a storm.

        Each with its labels, and the Prometheus that has it.
        """
        pending: dict[str, tuple[Mapping[str, str], Prometheus]] = {}
        for prometheus in self.reader.prometheus.each:
            try:
                samples = prometheus.instant_query(_PENDING, at=now)
            except PrometheusError as error:
                _log.debug("pending_alerts_query_failed", reason=str(error))
                continue
            pending |= {
                sample.labels["instance_id"]: (sample.labels, prometheus)
                for sample in samples
                if self._is_judged(sample.labels)
            }
        return pending if len(pending) <= _TARGETS_MAX else {}

    def _is_judged(self, labels: Mapping[str, str]) -> bool:
        matching = self.playbooks.matching(labels)
        return len(matching) == 1 and not matching[0].recheck

    def _run_once(self) -> None:
        try:
            self.read_pending()
        except Exception as error:  # noqa: BLE001 a failed prefetch must not end the thread
            _log.warning("prefetch_failed", error=type(error).__name__)
