"""Forged, stale and duplicate alerts for the storms of `make chaos`.

They are posted to the receivers, as by a second sender with the webhook's token. None of them is a
reason to act: the forged and the stale ones are about a host that is healthy or that AWS does not
confirm, and the others repeat, or end, what Alertmanager sends.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from receiver.webhook.payload import alertmanager_fingerprint

# Forged alerts of healthy hosts would start the storm guard, which refuses them before their
# re-check: Prometheus fires none of these alerts, so it cannot tell which are true.
STORM_LIMIT = "  storm: {share: 100%, at_least: 12}"
# The disks of the fleet are never full in these storms.
HEALTHY_PLAYBOOK = f"""
name: healthy
match: ['alertname=~"Healthy-.+"']
mode: auto
cooldown: 20s
limits:
{STORM_LIMIT}
recheck:
  - max(instance:node_filesystem_utilisation:ratio{{instance_id="$instance_id"}}) > bool 0.9
steps: [{{action: reboot_instance}}]
verify: {{expr: 'up{{instance_id="$instance_id"}} == bool 1', for: 0s, timeout: 30s}}
"""
# What the label `n` of a forged or stale alert begins with.
FORGED = "forged"
_OLD = timedelta(days=2)


class ForgeryKind(StrEnum):
    """What is wrong with an alert of these."""

    HEALTHY = "healthy"
    UNKNOWN = "unknown"
    OTHER_GROUP = "other_group"
    FINGERPRINT = "fingerprint"
    OLD = "old"
    RESOLVED = "resolved"
    DUPLICATE = "duplicate"


# These have runs of their own; the others share those of real alerts.
NAMED = [kind for kind in ForgeryKind if kind not in {ForgeryKind.RESOLVED, ForgeryKind.DUPLICATE}]


@dataclass(frozen=True, kw_only=True)
class Forgery:
    """An alert as Alertmanager would deliver it. `name` is None if it shares a real alert's run."""

    kind: ForgeryKind
    name: str | None
    alert: Mapping[str, Any]


def forge(
    chance: random.Random,
    real: Sequence[Mapping[str, Any]],
    fleet: Sequence[Mapping[str, Any]],
    *,
    kinds: Sequence[ForgeryKind],
    when: str,
) -> list[Forgery]:
    """One forgery of each of the `kinds`, beside the `real` alerts. `when` makes names unique."""
    forger = _Forger(chance, real, fleet)
    return [forger.forge(kind, f"{FORGED}-{when}-{number}") for number, kind in enumerate(kinds)]


class _Forger:
    def __init__(
        self,
        chance: random.Random,
        real: Sequence[Mapping[str, Any]],
        fleet: Sequence[Mapping[str, Any]],
    ) -> None:
        self._chance, self._real = chance, real
        alerting = {alert["labels"]["instance_id"] for alert in real}
        self._healthy = [host for host in fleet if host["instance_id"] not in alerting]

    def forge(self, kind: ForgeryKind, name: str) -> Forgery:
        # A firing copy after the end of its alert is a new incident, so no alert gets both.
        offset = int(kind is ForgeryKind.RESOLVED)
        real = self._chance.choice(self._real[offset::2])
        now = datetime.now(UTC)
        match kind:
            case ForgeryKind.DUPLICATE:
                return Forgery(kind=kind, name=None, alert={**real, "status": "firing"})
            case ForgeryKind.RESOLVED:
                over = {"status": "resolved", "endsAt": now.isoformat()}
                return Forgery(kind=kind, name=None, alert={**real, **over})
        labels = {**self._target(kind, name), "severity": "warning", "n": name}
        begun = now - _OLD if kind is ForgeryKind.OLD else now
        alert = {"status": "firing", "labels": labels, "startsAt": begun.isoformat()}
        if kind is ForgeryKind.FINGERPRINT:
            alert["fingerprint"] = alertmanager_fingerprint(real["labels"])
        return Forgery(kind=kind, name=name, alert=alert)

    def _target(self, kind: ForgeryKind, name: str) -> Mapping[str, str]:
        """The target's labels, and a name whose playbook's re-check only a healthy host fails."""
        healthy, wrong = self._chance.choice(self._healthy), f"Chaos-{name}"
        match kind:
            case ForgeryKind.UNKNOWN:
                unknown = f"i-{self._chance.getrandbits(68):017x}"
                return {"alertname": wrong, "instance_id": unknown, "asg": healthy["asg"]}
            case ForgeryKind.OTHER_GROUP:
                groups = sorted({host["asg"] for host in self._healthy} - {healthy["asg"]})
                other = {"instance_id": healthy["instance_id"], "asg": groups[0]}
                return {"alertname": wrong, **other}
            case _:
                target = {"instance_id": healthy["instance_id"], "asg": healthy["asg"]}
                return {"alertname": f"Healthy-{name}", **target}
