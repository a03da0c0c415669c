"""Whether what moved now also moved at this hour on earlier days, with the same signature.

High CPU alone is no signature: a runaway process in the hour of the nightly job has the CPU but
not the job's disk work. A day therefore counts only if every role that is up now was up then, and
it had no disk work that is missing now.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from models.features.residuals import DISK, MOVED_Z, Flags, PastGrid, Residual

# Roles that follow a job at once. Load and memory lag behind and would hide its beginning.
_AT_ONCE = ("cpu_busy", *DISK, "net_rx_bytes", "net_tx_bytes", "tcp_established")
DAYS_AT_LEAST = 3
# How much of today's rise an earlier day must show; CPU saturates and so compares closely.
_SHARE_OF_RISE = 0.4
_SHARE_OF_CPU_RISE = 0.75


@dataclass(frozen=True, kw_only=True)
class Recurrence:
    """Earlier days known at this hour, those alike, and those alike with additional disk work."""

    days: int
    alike: int
    with_disk_work: int

    @property
    def usual(self) -> bool:
        return self.alike >= DAYS_AT_LEAST and 2 * self.alike >= self.days


def count_recurrence(
    before: PastGrid,
    moved: Mapping[str, Residual],
    residuals: Mapping[str, Residual],
    alert_roles: Collection[str],
) -> Recurrence:
    """`moved` are the roles that have risen now, `residuals` all roles with a residual.

    `alert_roles` are the alert's roles; they count although they lag.
    """
    signature = {
        role: residual
        for role, residual in moved.items()
        if role in _AT_ONCE or role in alert_roles
    }
    alike = before.this_hour.copy()
    present = before.this_hour.copy()
    for role, residual in signature.items():
        share = _SHARE_OF_CPU_RISE if role == "cpu_busy" else _SHARE_OF_RISE
        values = before.values[role]
        present &= np.isfinite(values)
        alike &= values >= residual.usual + share * (residual.now - residual.usual)
    disk = (
        np.zeros_like(alike)
        if any(role in moved for role in DISK)
        else _disk_work(before, residuals)
    )
    return Recurrence(
        days=_days(before, present),
        alike=_days(before, alike & ~disk) if signature else 0,
        with_disk_work=_days(before, alike & disk),
    )


def _disk_work(before: PastGrid, residuals: Mapping[str, Residual]) -> Flags:
    working = np.zeros_like(before.this_hour)
    for role in DISK:
        if residual := residuals.get(role):
            rise = max(MOVED_Z * residual.sigma, residual.role.step)
            working |= before.values[role] >= residual.usual + rise
    return working


def _days(before: PastGrid, slots: Flags) -> int:
    return len(np.unique(before.days[slots]))
