"""The table of faults and look-alikes that are injected into recorded metrics for training."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The metrics that a fault moves, their direction and their speed.

    By group of roles, as (least, most): `add` adds multiples of a role's own spread, `scale`
    multiplies. `minutes` is the age of the change when the alert is sent, `course` its shape:
    "step", "ramp", "waves" or "burst" (which fades again). `every_days` repeats it in the past,
    where `earlier` is added in place of `add`, if it is given.
    `together` is the probability that all members of a group show it; what is `grouped` cannot be
    told from a faulty sensor without siblings. It is injected so `often` as others once.
    """

    incident: bool
    add: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    scale: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    minutes: tuple[int, int] = (4, 12)
    course: str = "step"
    every_days: int = 0
    earlier: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    jitter: float = 0.15
    together: float = 0.03
    grouped: bool = False
    often: int = 1


_TRAFFIC = ("net_in", "net_out")
_TCP = ("connections", "closing", "opens")


def _all(groups: tuple[str, ...], span: tuple[float, float]) -> dict[str, tuple[float, float]]:
    return dict.fromkeys(groups, span)


SIGNATURES: Mapping[str, Signature] = {
    # A process that burns CPU and serves no request.
    "runaway": Signature(
        incident=True,
        add={"cpu": (3, 8), "load": (2, 8), "latency": (0, 4)},
        scale=_all(_TRAFFIC, (0.8, 1.0)),
        minutes=(4, 30),
    ),
    # Seconds old, or served by an idle processor: nothing but the processor tells.
    "spinning": Signature(
        incident=True,
        often=2,
        add={"cpu": (3, 10), "load": (0, 0.6)},
        scale=_all(_TRAFFIC, (0.9, 1.05)),
        minutes=(1, 30),
        grouped=True,
    ),
    "pegged": Signature(
        incident=True,
        often=3,
        add={"cpu": (6, 14), "load": (0, 3)},
        scale=_all(_TRAFFIC, (0.95, 1.05)),
        minutes=(1, 8),
        grouped=True,
    ),
    # In the hour of a nightly job, without the job's disk work.
    "runaway_at_night": Signature(
        incident=True,
        often=3,
        add={"cpu": (3, 10), "load": (0, 6)},
        scale=_all(_TRAFFIC, (0.9, 1.05)),
        minutes=(1, 20),
        every_days=1,
        earlier={"cpu": (2, 8), "load": (1, 7), "disk_out": (3, 12), "disk_busy": (1, 10)},
        grouped=True,
    ),
    "hoarding": Signature(
        incident=True,
        often=3,
        add={"memory": (3, 10), "swap": (0, 1)},
        minutes=(3, 60),
        grouped=True,
    ),
    "fast_leak": Signature(
        incident=True,
        add={"memory": (2, 10), "swap": (0, 6), "disk_in": (0, 3), "load": (0, 3)},
        course="ramp",
        minutes=(3, 40),
    ),
    "fork_storm": Signature(
        incident=True,
        add={"load": (5, 14), "cpu": (2, 6), "memory": (1, 4)},
        scale=_all(_TRAFFIC, (0.6, 1.0)),
        course="ramp",
    ),
    "starved_cpu": Signature(
        incident=True,
        add={"load": (3, 9)},
        scale={"cpu": (0.5, 1.0), **_all(_TRAFFIC, (0.4, 0.8)), "connections": (1.0, 1.6)},
    ),
    "leak": Signature(
        incident=True,
        add={"memory": (0.5, 4), "load": (0.1, 1.5), "swap": (0, 2)},
        course="ramp",
        minutes=(8, 120),
    ),
    "thrashing": Signature(
        incident=True,
        add={
            "memory": (1, 4),
            "swap": (3, 12),
            "disk_in": (1, 6),
            "disk_busy": (2, 8),
            "disk_slow": (2, 8),
            "load": (2, 8),
            "latency": (1, 12),
        },
        scale=_all(_TRAFFIC, (0.4, 0.9)),
        minutes=(4, 25),
    ),
    "slow_disk": Signature(
        incident=True,
        add={"disk_slow": (3, 16), "disk_busy": (2, 14), "load": (0.5, 4), "latency": (0, 10)},
        scale=_all(_TRAFFIC, (0.5, 0.95)),
    ),
    "runaway_writes": Signature(
        incident=True,
        add={"disk_out": (4, 14), "disk_busy": (2, 10), "disk_slow": (2, 9), "space": (1, 5)},
        scale=_all(_TRAFFIC, (0.7, 1.0)),
        minutes=(6, 60),
    ),
    "filling": Signature(
        incident=True,
        add={"space": (3, 14), "disk_out": (0, 12), "disk_busy": (0, 6)},
        course="ramp",
        minutes=(6, 60),
    ),
    "filled": Signature(
        incident=True,
        add={"space": (4, 14), "disk_out": (0, 1)},
        minutes=(1, 30),
    ),
    "full_disk": Signature(
        incident=True,
        add={"space": (3, 14), "errors": (1, 6), "latency": (0, 8)},
        scale={"disk_out": (0.0, 0.3), "net_out": (0.3, 0.8), "cpu": (0.6, 1.0)},
        minutes=(4, 30),
    ),
    "loss": Signature(
        incident=True,
        add={"errors": (3, 18), "resets": (1, 14)},
        scale=_all(_TRAFFIC, (0.5, 0.95)),
    ),
    "partition": Signature(
        incident=True,
        add={"errors": (1, 8)},
        scale={**_all(_TRAFFIC, (0.0, 0.3)), "cpu": (0.2, 0.7), "opens": (0.5, 2.5)},
        minutes=(3, 15),
    ),
    "hung": Signature(
        incident=True,
        add={"connections": (1, 6), "closing": (0, 4), "latency": (4, 30)},
        scale={**_all(_TRAFFIC, (0.1, 0.6)), "cpu": (0.2, 0.8), "opens": (0.1, 0.7)},
        minutes=(4, 20),
    ),
    "unanswering": Signature(
        incident=True,
        add={"connections": (0, 8), "load": (0, 3)},
        scale={"service_up": (0.0, 0.0), **_all(_TRAFFIC, (0.3, 1.0)), "opens": (0.4, 1.0)},
        minutes=(1, 20),
    ),
    "dead": Signature(
        incident=True,
        scale={
            "service_up": (0.0, 0.0),
            **_all(_TRAFFIC, (0.02, 0.5)),
            **_all(("cpu", "load"), (0.2, 0.9)),
            "connections": (0.1, 0.9),
        },
        minutes=(3, 20),
    ),
    "crash_loop": Signature(
        incident=True,
        add={"resets": (2, 10), "cpu": (1, 4), "opens": (1, 5), "errors": (0, 4)},
        scale={
            "service_up": (0.0, 0.6),
            **_all(_TRAFFIC, (0.3, 0.7)),
            "connections": (0.3, 0.8),
        },
        course="waves",
        minutes=(6, 40),
    ),
    "slow_dependency": Signature(
        incident=True,
        add={"connections": (2, 9), "errors": (0.5, 5), "latency": (3, 20)},
        scale={"net_out": (0.4, 0.85), "cpu": (0.5, 0.95)},
        minutes=(4, 30),
    ),
    "connection_leak": Signature(
        incident=True,
        add={"connections": (3, 12), "memory": (0.2, 2)},
        course="ramp",
        minutes=(10, 90),
    ),
    "flood": Signature(
        incident=True,
        together=0.5,
        add={
            "net_in": (4, 14),
            "opens": (4, 14),
            "connections": (2, 12),
            "errors": (2, 12),
            "cpu": (1, 5),
            "load": (1, 5),
        },
        scale={"net_out": (0.6, 1.1)},
    ),
    "overloaded": Signature(
        incident=True,
        together=0.6,
        add={
            **_all(("cpu", "load"), (1.5, 7)),
            **_all(_TCP, (1.5, 8)),
            "net_in": (2, 9),
            "errors": (1, 10),
            "resets": (0.5, 10),
            "latency": (1, 12),
        },
        scale={"net_out": (0.9, 1.4)},
        minutes=(3, 9),
    ),
    "saturated": Signature(
        incident=True,
        together=0.5,
        add={
            "cpu": (2, 7),
            "load": (2, 9),
            "net_in": (1, 5),
            "connections": (2, 9),
            "errors": (0.5, 6),
            "latency": (1, 12),
        },
        minutes=(4, 25),
    ),
    "port_scan": Signature(
        incident=True,
        add={"opens": (4, 14), "resets": (4, 14), "closing": (2, 8)},
        minutes=(4, 25),
    ),
    "bad_neighbour": Signature(
        incident=True,
        add={"disk_slow": (2, 9), "load": (1, 6), "errors": (0, 3)},
        scale={"cpu": (0.6, 1.0), **_all(_TRAFFIC, (0.5, 0.9))},
        course="waves",
        minutes=(6, 40),
    ),
    "spinning_leak": Signature(
        incident=True,
        add={"memory": (1, 5), "cpu": (1, 6), "load": (1, 5)},
        scale=_all(_TRAFFIC, (0.5, 1.0)),
        course="ramp",
        minutes=(8, 60),
    ),
    "scan": Signature(
        incident=False,
        together=0.3,
        add={"disk_in": (3, 12), "disk_busy": (2, 8), "cpu": (0.5, 3), "disk_slow": (0, 4)},
        minutes=(5, 40),
        every_days=7,
    ),
    "reloaded": Signature(
        incident=False,
        together=0.3,
        add={"opens": (2, 10), "closing": (2, 10), "resets": (0, 8)},
        scale={"connections": (0.4, 0.9)},
        course="burst",
        minutes=(3, 7),
    ),
    "busy_hour": Signature(
        incident=False,
        together=0.8,
        add={**_all(_TRAFFIC, (1, 4)), "connections": (0.5, 3), "cpu": (0.5, 3)},
        course="ramp",
        minutes=(20, 120),
    ),
    "sync": Signature(
        incident=False,
        together=0.3,
        add={"net_out": (3, 12), "net_in": (0, 4), "disk_in": (1, 6), "cpu": (0, 2)},
        minutes=(4, 25),
        every_days=1,
    ),
    "udp_burst": Signature(incident=False, together=0.3, add={"udp": (3, 14), "net_in": (0, 3)}),
    "surge": Signature(
        incident=False,
        together=0.7,
        add={
            **_all(_TRAFFIC, (1.5, 7)),
            **_all(_TCP, (0.5, 5)),
            "cpu": (0.7, 4.5),
            "load": (0.3, 3.5),
            "latency": (0, 2),
        },
        minutes=(4, 40),
    ),
    "busier_for_good": Signature(
        incident=False,
        together=0.6,
        scale={
            **_all(_TRAFFIC, (1.4, 2.4)),
            **_all(_TCP, (1.3, 2.2)),
            **_all(("cpu", "load"), (1.2, 2.0)),
        },
        minutes=(10, 180),
    ),
    "download": Signature(
        incident=False,
        together=0.2,
        add={"net_in": (3, 14), "disk_out": (2, 9), "cpu": (0, 2), "disk_busy": (0, 5)},
        minutes=(4, 25),
    ),
    "drained": Signature(
        incident=False,
        together=0.1,
        scale={
            **_all(_TRAFFIC, (0.05, 0.5)),
            **_all(_TCP, (0.05, 0.5)),
            **_all(("cpu", "load"), (0.2, 0.7)),
        },
        course="ramp",
        minutes=(6, 30),
    ),
    "rollout": Signature(
        incident=False,
        together=0.1,
        add={
            "cpu": (1.5, 9),
            **_all(_TCP, (1, 10)),
            "resets": (0, 12),
            "load": (0, 1),
            "latency": (0, 5),
        },
        scale={"net_in": (0.5, 1.0)},
        minutes=(3, 7),
    ),
    "restarted": Signature(
        incident=False,
        add={"cpu": (1, 6), "disk_in": (1, 7), "opens": (0, 5)},
        scale={"memory": (0.6, 0.95), "connections": (0.3, 0.9)},
        course="burst",
        minutes=(3, 10),
    ),
    "warm_up": Signature(
        incident=False,
        add={
            "disk_in": (3, 12),
            "cpu": (1, 5),
            "disk_busy": (1, 6),
            "load": (0.3, 3),
            "latency": (0, 4),
        },
        course="burst",
        minutes=(4, 15),
    ),
    "page_cache": Signature(
        incident=False,
        together=0.2,
        add={"disk_in": (2, 9), "disk_busy": (0, 4)},
        minutes=(4, 30),
    ),
    "log_rotation": Signature(
        incident=False,
        together=0.5,
        add={
            "cpu": (1, 5),
            "disk_in": (1, 6),
            "disk_out": (1, 6),
            "disk_slow": (0, 4),
            "space": (0, 2),
        },
        course="burst",
        minutes=(3, 8),
        every_days=1,
    ),
    "daily_job": Signature(
        incident=False,
        together=0.4,
        add={
            "cpu": (2, 8),
            "load": (1, 7),
            "disk_out": (2, 12),
            "disk_slow": (1, 12),
            "disk_busy": (1, 10),
        },
        minutes=(4, 20),
        every_days=1,
    ),
    "first_job": Signature(
        incident=False,
        often=3,
        together=0.2,
        add={
            "cpu": (2, 8),
            "load": (1, 7),
            "disk_in": (0, 6),
            "disk_out": (2, 12),
            "disk_slow": (0, 10),
            "disk_busy": (0, 10),
            "space": (0, 4),
            "memory": (0, 2),
        },
        scale=_all(_TRAFFIC, (0.9, 1.05)),
        minutes=(1, 30),
    ),
    "first_build": Signature(
        incident=False,
        often=2,
        together=0.1,
        add={
            "cpu": (2, 8),
            "load": (0, 6),
            "disk_in": (1, 10),
            "disk_out": (0, 6),
            "space": (0, 4),
        },
        minutes=(1, 30),
    ),
    "first_export": Signature(
        incident=False,
        often=2,
        together=0.1,
        add={"cpu": (1, 6), "net_out": (2, 12), "disk_in": (1, 10), "disk_busy": (0, 8)},
        minutes=(1, 30),
    ),
    "first_import": Signature(
        incident=False,
        often=3,
        together=0.1,
        add={"cpu": (1, 10), "net_in": (0, 8), "disk_out": (3, 14), "space": (0, 5)},
        minutes=(1, 30),
    ),
    "daily_backup": Signature(
        incident=False,
        together=0.4,
        add={
            "net_out": (2, 11),
            "disk_in": (1, 11),
            "disk_slow": (1, 9),
            "disk_busy": (1, 9),
            "cpu": (0.5, 4),
        },
        minutes=(4, 20),
        every_days=1,
    ),
    "daily_report": Signature(
        incident=False,
        together=0.4,
        add={"cpu": (2, 9), "load": (1, 8), "memory": (0, 3)},
        minutes=(4, 20),
        every_days=1,
    ),
    "daily_restart": Signature(
        incident=False,
        together=0.3,
        add={"opens": (1, 8), "resets": (1, 10), "cpu": (1, 6)},
        scale={**_all(_TRAFFIC, (0.2, 0.8)), "connections": (0.2, 0.8)},
        minutes=(3, 7),
        every_days=1,
    ),
    "weekly_job": Signature(
        incident=False,
        together=0.4,
        add={"cpu": (2, 9), "load": (1, 8), "disk_in": (2, 10), "disk_busy": (1, 10)},
        minutes=(4, 20),
        every_days=7,
    ),
}
