"""The faults of simulated hosts and groups, and the documents that repair them."""

from dataclasses import dataclass
from enum import StrEnum


class FaultError(ValueError):
    """A fault cannot be injected; the text has the reason."""


class Fault(StrEnum):
    CPU_RUNAWAY = "cpu_runaway"
    MEMORY_LEAK = "memory_leak"
    DISK_FULL = "disk_full"
    SERVICE_HANG = "service_hang"
    TRAFFIC_SURGE = "traffic_surge"
    BATCH_JOB = "batch_job"
    INSTANCE_DOWN = "instance_down"
    HARDWARE_FAILURE = "hardware_failure"
    WRONG_ANSWERS = "wrong_answers"
    BAD_DEPLOY = "bad_deploy"


@dataclass(frozen=True)
class ActiveFault:
    """When a fault began and when it ends, in epoch seconds."""

    began: float
    until: float


OF_GROUP = frozenset({Fault.TRAFFIC_SURGE, Fault.BAD_DEPLOY})
BENIGN = frozenset({Fault.TRAFFIC_SURGE, Fault.BATCH_JOB})
# The faults that each document repairs.
REPAIRS = {
    "SmartCloudOps-RestartService": frozenset({Fault.SERVICE_HANG, Fault.MEMORY_LEAK}),
    "SmartCloudOps-CleanDisk": frozenset({Fault.DISK_FULL}),
    "SmartCloudOps-ClearCache": frozenset[Fault](),
    "SmartCloudOps-Capture": frozenset[Fault](),
}
# The host does not answer.
SILENT = frozenset({Fault.INSTANCE_DOWN, Fault.HARDWARE_FAILURE})
# A full disk survives a reboot, and so does what a host was launched with. Failed hardware is left
# only by a stop and a start.
OUTLIVES_REBOOT = frozenset(
    {Fault.DISK_FULL, Fault.WRONG_ANSWERS, Fault.HARDWARE_FAILURE, Fault.BAD_DEPLOY}
)


def parse_fault(name: str) -> Fault:
    """Raises FaultError."""
    try:
        return Fault(name)
    except ValueError:
        names = ", ".join(sorted(Fault))
        raise FaultError(f"unknown fault {name!r}; use one of: {names}") from None
