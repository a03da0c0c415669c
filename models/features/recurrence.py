"""Whether the same roles moved at this hour on earlier days, with the same signature.

High CPU alone is not enough: a runaway process in the hour of the nightly job lacks the job's disk
work. A day therefore counts only if every role that is up now was also up on that day, and the day
had no disk work that is missing now.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from models.features.residuals import DISK, MOVED_Z, Flags, PastGrid, Residual

# Roles that follow a job at once; load and memory lag behind it.
_AT_ONCE = ("cpu_busy", *DISK, "net_rx_bytes", "net_tx_bytes", "tcp_established")
DAYS_AT_LEAST = 3
# The share of today's rise that an earlier day must show; higher for CPU, which saturates.
_SHARE_OF_RISE = 0.4
_SHARE_OF_CPU_RISE = 0.75


@dataclass(frozen=True, kw_only=True)
class Recurrence:
    """Counts of earlier days: with data at this hour, alike, and alike with more disk work."""

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
    """Count the earlier days on which the roles in `moved`, which have risen, rose too.

    `residuals` has all roles. A role of the alert (`alert_roles`) is compared even if it lags.
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
