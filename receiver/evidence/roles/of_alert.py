"""The roles that the alerts of the shipped rules and of common rule packs fire on."""

from collections.abc import Mapping

_ROLES: Mapping[str, frozenset[str]] = {
    "HighCPU": frozenset({"cpu_busy"}),
    "HostHighCpuLoad": frozenset({"cpu_busy"}),
    "NodeCPUHighUsage": frozenset({"cpu_busy"}),
    "HighLoad": frozenset({"load1"}),
    "NodeSystemSaturation": frozenset({"load1"}),
    "HighMemory": frozenset({"memory_used_effective"}),
    "HostOutOfMemory": frozenset({"memory_used_effective"}),
    "NodeMemoryHighUtilization": frozenset({"memory_used_effective"}),
    "DiskSpaceLow": frozenset({"filesystem_used"}),
}


def roles_of_alert(labels: Mapping[str, str]) -> frozenset[str]:
    """Empty for any other alert: then every role is compared."""
    return _ROLES.get(labels.get("alertname", ""), frozenset())
