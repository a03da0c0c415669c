"""The model's input for an alert: a vector of named numbers, the same in training and service.

Every number is relative to the target's own past, so units and absolute sizes have no effect; an
unknown number is NaN, never zero. Roles are collected in groups (`GROUPS`), so that exporters with
different roles fill the same columns. The window holds no sample later than its moment.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from models.features import baselines, distances, peers, seasonality
from models.features.baselines import MOVED, Levels
from models.features.peers import Siblings
from models.features.window import DAY_SLOTS, Window

# The matrices have a few dozen rows: further threads would burn a core and gain no time.
threadpool_limits(1, "blas")

Floats = NDArray[np.float64]

GROUPS: Mapping[str, tuple[str, ...]] = {
    "cpu": ("cpu_busy",),
    "load": ("load1", "load5", "load15"),
    "memory": ("memory_used", "memory_used_effective", "memory_shmem"),
    "swap": ("swap_in", "swap_out"),
    "space": ("filesystem_used",),
    "disk_in": ("disk_reads", "disk_read_bytes"),
    "disk_out": ("disk_writes", "disk_write_bytes"),
    "disk_busy": ("disk_util",),
    "disk_slow": ("disk_queue", "disk_await", "disk_write_await"),
    "net_in": ("net_rx_bytes", "net_rx_packets", "tcp_in_segs", "request_count"),
    "net_out": ("net_tx_bytes", "net_tx_packets", "tcp_out_segs"),
    "connections": ("tcp_in_use", "tcp_established"),
    "closing": ("tcp_time_wait",),
    "opens": ("tcp_active_opens", "tcp_passive_opens"),
    "resets": ("tcp_out_rsts",),
    "errors": (
        "tcp_retrans",
        "tcp_timeouts",
        "tcp_in_errs",
        "tcp_listen_overflows",
        "udp_rcvbuf_errs",
        "udp_sndbuf_errs",
    ),
    "udp": ("udp_in_datagrams", "udp_out_datagrams"),
    "latency": ("latency",),
    "up": ("service_up",),
}
GROUP_OF = {role: group for group, roles in GROUPS.items() for role in roles}
_PER_GROUP = ("now", "hour", "change", "local", "quarter", "half", "turn")
_COUNTS = ("roles", "days", "asked", "risen", "fallen", "strongest", "turned", "turned_most")
NAMES: tuple[str, ...] = (
    *(f"{group}_{what}" for group in GROUPS for what in _PER_GROUP),
    *(f"lead_{what}" for what in baselines.NAMES),
    *_COUNTS,
    *distances.NAMES,
    *seasonality.NAMES,
    *peers.NAMES,
)


@dataclass(frozen=True, kw_only=True)
class Features:
    """The `vector` (`NAMES`), and the facts of which a verdict tells.

    `siblings` is None if they are unknown, `lead` is the row of the leading role.
    """

    vector: Floats
    levels: Levels
    siblings: Siblings | None = None
    lead: int = 0


def features(window: Window, alert_roles: Collection[str]) -> Features:
    """The features of a window.

    The leading role is one of `alert_roles` or, if none is known, the role that moved the most. A
    window without a known role gives a vector of NaN.
    """
    known = np.isfinite(window.now) & (np.isfinite(window.history).sum(axis=1) >= DAY_SLOTS // 8)
    if not known.all():
        window = window.only(known)
    levels = baselines.levels(window)
    if not known.any():
        return Features(vector=np.full(len(NAMES), np.nan), levels=levels)
    groups: dict[str, list[int]] = {}
    for row, role in enumerate(window.roles):
        if role in GROUP_OF:
            groups.setdefault(GROUP_OF[role], []).append(row)
    of_alert = np.array([role in alert_roles for role in window.roles])
    leading = of_alert.copy()
    if "cpu_busy" in alert_roles and "cpu_iowait" in window.roles:
        # A rule about a busy processor counts the time in which it waits for a disk, too.
        leading[window.roles.index("cpu_iowait")] = True
    strength = np.abs(levels.columns["now"])
    lead = int(np.argmax(np.where(leading, strength + 1e3, strength)))
    # An alert on no known role counts as one on the role that moved the most.
    of_alert[lead] = True
    past = window.history[:, baselines.NEWEST_LEFT_OUT :]
    siblings, compared = peers.compare(window, levels, lead)
    vector = np.concatenate(
        [
            _by_group(levels, groups),
            [levels.columns[what][lead] for what in baselines.NAMES],
            _counts(window, levels, of_alert),
            distances.distances(window, levels),
            seasonality.count_repeats(past, levels, lead),
            compared,
        ]
    )
    return Features(vector=vector, levels=levels, siblings=siblings, lead=lead)


def _by_group(levels: Levels, groups: Mapping[str, list[int]]) -> Floats:
    """The columns of each group, each from the role in it that is farthest out by it."""
    table = np.full((len(GROUPS), len(_PER_GROUP)), np.nan)
    columns = np.array([levels.columns[what] for what in _PER_GROUP])
    sizes = np.nan_to_num(np.abs(columns))
    each = np.arange(len(_PER_GROUP))
    for line, group in enumerate(GROUPS):
        if members := groups.get(group):
            farthest = np.array(members)[sizes[:, members].argmax(axis=1)]
            table[line] = columns[each, farthest]
    return table.ravel()


def _counts(window: Window, levels: Levels, of_alert: NDArray[np.bool_]) -> list[float]:
    """How many roles there are, how many moved, and how many turned."""
    z = levels.columns["now"]
    turn = np.fmax(np.abs(levels.columns["quarter"]), np.abs(levels.columns["turn"]))
    turn = np.nan_to_num(turn)
    return [
        float(len(z)),
        window.history.shape[1] / DAY_SLOTS,
        float(np.count_nonzero(of_alert)),
        float(np.count_nonzero(z >= MOVED)),
        float(np.count_nonzero(z <= -MOVED)),
        float(np.abs(z).max()),
        np.count_nonzero(turn >= np.arcsinh(3.0)) / len(z),
        float(turn.max()),
    ]
