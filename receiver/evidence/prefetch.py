"""The past of targets whose alerts are pending, read before they fire.

A week of a machine's metrics takes Prometheus longer than all else that a decision waits for, and
a rule with a `for` says ahead whose week that will be. Only reads; where it knows nothing, the
evidence is asked for as ever.
"""

import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field

import structlog

from models.features.signals import ROLES_OF_ALERT
from receiver.evidence.metrics_query import Past, past_of
from receiver.evidence.prometheus import Prometheus, PrometheusError
from receiver.playbooks.loader import Playbooks
from receiver.runtime.periodic import Periodic

_log = structlog.get_logger()
_PENDING = 'ALERTS{alertstate="pending",instance_id!=""}'
_LOOK_EVERY_S = 2.0
# When a past is read again, and forgotten; of so many targets at most: more are a storm.
_AGAIN_S, _FORGET_S, _MOST = 20.0, 300.0, 16


@dataclass
class Pasts:
    """`prometheus` is asked on `pool`; `clock` gives epoch seconds.

    `ahead` asks AWS about a target and its group: CloudTrail takes as long, and is minutes late.
    """

    prometheus: Prometheus
    playbooks: Playbooks
    pool: Executor
    clock: Callable[[], float] = time.time
    ahead: Callable[[Collection[str], float], None] = lambda _, __: None
    _known: dict[str, Past] = field(default_factory=dict, init=False)
    _periodic: Periodic = field(init=False)

    def __post_init__(self) -> None:
        self._periodic = Periodic("pasts", _LOOK_EVERY_S, self._look, stop_wait_s=0.0)

    def start(self) -> None:
        self._periodic.start()

    def stop(self) -> None:
        """What is being read is not waited for."""
        self._periodic.stop()

    def of(self, target: str) -> Past | None:
        """What was read of the target lately."""
        return self._known.get(target)

    def look(self) -> None:
        """Read the past of what is pending now."""
        now = self.clock()
        kept = {one: past for one, past in self._known.items() if now - past.at < _FORGET_S}
        for target, labels in self._pending(now).items():
            if self._periodic.stopping.is_set():
                return
            roles = ROLES_OF_ALERT.get(labels.get("alertname", ""), frozenset())
            self.ahead([one for one in (target, labels.get("asg")) if one], now)
            known = kept.get(target)
            young = known is not None and now - known.at < _AGAIN_S
            # Every five minutes the week is another one.
            if known is None or not young or not known.serves(now, roles):
                read = past_of(
                    self.prometheus,
                    target=target,
                    at=self.clock(),
                    pool=self.pool,
                    roles=roles,
                    known=known,
                )
                if read is not None:
                    kept[target] = read
            self._known = dict(kept)
        self._known = kept

    def _pending(self, now: float) -> Mapping[str, Mapping[str, str]]:
        """Labels of the alerts by target, where the model will be asked; none in a storm."""
        try:
            found = self.prometheus.instant_query(_PENDING, at=now)
        except PrometheusError as error:
            _log.debug("pending_unknown", why=str(error))
            return {}
        asked = {one.labels["instance_id"]: one.labels for one in found if self._judged(one.labels)}
        return asked if len(asked) <= _MOST else {}

    def _judged(self, labels: Mapping[str, str]) -> bool:
        matching = self.playbooks.matching(labels)
        return len(matching) == 1 and not matching[0].recheck

    def _look(self) -> None:
        try:
            self.look()
        except Exception as error:  # noqa: BLE001 nothing rests on it, and it must not end
            _log.warning("pasts_unread", error=type(error).__name__)
