"""What can be wrong with a simulated host or group, and what mends it."""

from dataclasses import dataclass
from enum import StrEnum


class FaultError(ValueError):
    """A fault that cannot be switched on; the text says why."""


class Fault(StrEnum):
    CPU_RUNAWAY = "cpu_runaway"
    MEMORY_LEAK = "memory_leak"
    DISK_FULL = "disk_full"
    SERVICE_HANG = "service_hang"
    TRAFFIC_SURGE = "traffic_surge"
    BATCH_JOB = "batch_job"
    INSTANCE_DOWN = "instance_down"
    WRONG_ANSWERS = "wrong_answers"


@dataclass(frozen=True)
class Trouble:
    """A fault's time, in epoch seconds."""

    began: float
    until: float


OF_GROUP = frozenset({Fault.TRAFFIC_SURGE})
BENIGN = frozenset({Fault.TRAFFIC_SURGE, Fault.BATCH_JOB})
# What a document mends, beside which it does nothing.
MENDS = {
    "SmartCloudOps-RestartService": frozenset({Fault.SERVICE_HANG, Fault.MEMORY_LEAK}),
    "SmartCloudOps-CleanDisk": frozenset({Fault.DISK_FULL}),
    "SmartCloudOps-ClearCache": frozenset[Fault](),
}
# What is on the disk is there after a reboot.
OUTLIVES_REBOOT = frozenset({Fault.DISK_FULL, Fault.WRONG_ANSWERS})


def fault(name: str) -> Fault:
    """Raises FaultError."""
    try:
        return Fault(name)
    except ValueError:
        known = ", ".join(sorted(Fault))
        raise FaultError(f"there is no fault {name!r}; there are: {known}") from None
