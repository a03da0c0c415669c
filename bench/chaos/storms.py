"""The alerts of a storm: many of a few hosts at once, each under a name of its own."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any

# Instances of each group that alert in a storm.
_ALERTING = 2


@dataclass
class Storms:
    """Storms of `make chaos`, each about the next instances of each group in turn."""

    chance: random.Random
    number: int = 0

    def draw(
        self, fleet: Sequence[Mapping[str, Any]], incidents: int, lasts: timedelta
    ) -> dict[str, dict[str, Any]]:
        """Alerts as Alertmanager takes them, by the label `n`; they end after `lasts`."""
        instances = self._next_instances(fleet)
        now = datetime.now(UTC)
        alerts = {}
        for number in range(incidents):
            target = self.chance.choice(instances)
            name = f"{self.number}-{number}"
            labels = {
                # Alertmanager groups by the name, so each alert is its own delivery.
                "alertname": f"Chaos-{name}",
                "remediation": "chaos",
                "severity": self.chance.choice(("warning", "info")),
                "instance_id": target["instance_id"],
                "asg": target["asg"],
                "n": name,
            }
            ends = (now + lasts).isoformat()
            alerts[name] = {"labels": labels, "startsAt": now.isoformat(), "endsAt": ends}
        return alerts

    def _next_instances(self, fleet: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        groups: dict[str, list[Mapping[str, Any]]] = {}
        for instance in sorted(fleet, key=itemgetter("instance_id")):
            groups.setdefault(instance["asg"], []).append(instance)
        first = self.number * _ALERTING
        self.number += 1
        return [
            members[(first + number) % len(members)]
            for members in groups.values()
            for number in range(_ALERTING)
        ]
