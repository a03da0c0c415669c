"""One instance of the simulated fleet: its faults, its workload, its exporter."""

import random
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from demo.aws.world import GROUP_TAG, Instance
from demo.fleet.faults import BENIGN, OUTLIVES_REBOOT, SILENT, ActiveFault, Fault
from demo.fleet.node_exporter import Exporter
from demo.fleet.workload import Host, Workload, levels

NEVER = float("inf")
# Seconds until a leak, or a disk that fills, has its full effect; seconds until a load balancer
# notices a hung target.
_LEAK_S, _FILL_S, _NOTICED_S = 90.0, 40.0, 10.0
_STRAINED = 0.9


@dataclass
class Member:
    """The host is up from `up_at` on; faults grow `speed` times as fast as in AWS."""

    host: Host
    exporter: Exporter
    up_at: float
    launched_at: float
    speed: float
    faults: dict[Fault, ActiveFault] = field(default_factory=dict)
    requests: float = 0.0
    # When a traffic surge of its group ends.
    surge_until: float = 0.0
    # How often EC2 has booted it.
    boots: int = 0

    def answers(self, now: float) -> bool:
        return now >= self.up_at and not SILENT & self.faults.keys()

    def hung(self, now: float) -> bool:
        """Whether the load balancer has noticed that the service hangs."""
        hang = self.faults.get(Fault.SERVICE_HANG) or self.faults.get(Fault.BAD_DEPLOY)
        return hang is not None and now - hang.began > _NOTICED_S / self.speed

    def serves(self, now: float) -> bool:
        return self.answers(now) and not self.hung(now)

    def boot(self, now: float, up_at: float) -> None:
        """Down until then, up with empty counters and without faults that a boot clears."""
        self.up_at = up_at
        self.faults = {
            fault: active for fault, active in self.faults.items() if fault in OUTLIVES_REBOOT
        }
        self.exporter = Exporter(booted_at=now + 0.3 * (up_at - now), at=now)

    def levels(self, now: float) -> Mapping[str, Any]:
        faults = self.present_faults(now)
        workload = Workload(
            requests=np.asarray(self.requests),
            runaway=np.asarray(float(Fault.CPU_RUNAWAY in faults)),
            batch=np.asarray(float(Fault.BATCH_JOB in faults)),
            leak=np.asarray(self._force(Fault.MEMORY_LEAK, _LEAK_S, now)),
            fill=np.asarray(self._force(Fault.DISK_FULL, _FILL_S, now)),
            hang=np.asarray(float(bool({Fault.SERVICE_HANG, Fault.BAD_DEPLOY} & faults))),
            wrong=np.asarray(float(Fault.WRONG_ANSWERS in faults)),
        )
        return levels(self.host, workload, np.asarray(now))

    def present_faults(self, now: float) -> AbstractSet[Fault]:
        present = {fault for fault, active in self.faults.items() if active.until > now}
        if self.surge_until > now:
            present.add(Fault.TRAFFIC_SURGE)
        return present

    def truth(self, now: float) -> dict[str, Any]:
        """The host's true state, independent of metrics."""
        at = self.levels(now)
        faults = sorted(self.present_faults(now))
        up = now >= self.up_at
        strained = float(at["utilisation"]) > _STRAINED
        harmful = [fault for fault in faults if fault not in BENIGN]
        health = "healthy" if up else "stopped" if self.up_at == NEVER else "booting"
        if SILENT & set(faults) and health == "healthy":
            health = "down"
        if health == "healthy" and (harmful or strained):
            health = "degraded"
        return {
            "instance_id": self.host.instance_id,
            "asg": self.host.group,
            "az": self.host.az,
            "health": health,
            "faults": faults,
            "traffic": round(self.requests, 2),
            "cpu": round(float(at["cpu_user"] + at["cpu_system"] + at["cpu_iowait"]), 4)
            if up
            else None,
            "launched_at": self.launched_at,
            "booted_at": self.exporter.booted_at,
        }

    def _force(self, fault: Fault, lasts_s: float, now: float) -> float:
        """The effect of a growing fault, from 0 to 1."""
        active = self.faults.get(fault)
        return 0.0 if active is None else min(1.0, (now - active.began) * self.speed / lasts_s)


def new_host(instance: Instance, seed: int, number: int) -> Host:
    """A host whose random parameters depend on the seed and the order of launch alone."""
    chance = random.Random(f"{seed} {number}")
    return Host(
        instance_id=instance.id,
        group=instance.tags[GROUP_TAG],
        az=instance.az,
        address=instance.address,
        phase=chance.uniform(0, 6.28),
        lean=chance.uniform(-1, 1),
    )
