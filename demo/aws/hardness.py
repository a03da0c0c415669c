"""How long the emulated AWS takes, and how hard it makes a caller's life."""

import random
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Seconds. The defaults are short, and AWS's own where a caller can read them from its API.

    `shutdown_s` is how long EC2 waits for a system that does not shut down before it reboots it
    the hard way: "within a few minutes"
    (https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RebootInstances.html), four in
    earlier editions of that page.
    """

    start_s: float = 3.0
    launch_s: float = 10.0
    boot_s: float = 8.0
    stop_s: float = 2.0
    terminate_s: float = 1.0
    move_s: float = 1.0
    register_s: float = 0.0
    drain_s: float = 5.0
    command_s: float = 2.0
    command_hidden_s: float = 0.3
    refresh_member_s: float = 5.0
    shutdown_s: float = 240.0
    check_s: float = 30.0

    def faster(self, speed: float) -> "Timings":
        return Timings(**{name: value / speed for name, value in vars(self).items()})


# The pace of a real region.
REAL = Timings(
    start_s=20.0,
    launch_s=90.0,
    boot_s=60.0,
    stop_s=30.0,
    terminate_s=45.0,
    move_s=10.0,
    register_s=30.0,
    drain_s=300.0,
    command_s=5.0,
    command_hidden_s=1.0,
    refresh_member_s=300.0,
    shutdown_s=240.0,
    check_s=60.0,
)


@dataclass(frozen=True, kw_only=True)
class Hardness:
    """What AWS documents, and an emulator leaves out by default; shares are from 0 to 1.

    `heals`: groups replace unhealthy members and rebalance zones. `lag_s`: describes are as old as
    that. `burst`: requests of one operation before it is throttled, 0 for no throttling, refilled
    at `refill` a second; `documented_limits` are those that AWS documents. `hangs`: reboots of
    systems that do not shut down. `delayed`, `undelivered` and `failing` are commands that wait for
    their agent, never reach it, or end in a failure. `no_capacity`: launches that fail.
    `contended`: calls that meet another activity.
    """

    heals: bool = False
    lag_s: float = 0.0
    burst: int = 0
    refill: float = 2.0
    documented_limits: bool = False
    hangs: float = 0.0
    delayed: float = 0.0
    undelivered: float = 0.0
    failing: float = 0.0
    no_capacity: float = 0.0
    contended: float = 0.0

    def limit_of(self, service: str, operation: str, *, reads: bool) -> tuple[float, float] | None:
        """The bucket of an operation in one region of an account, and its refill a second.

        EC2 documents a bucket for each operation, CloudTrail two lookups a second; Auto Scaling's
        are not public, and taken for EC2's.
        https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
        https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html
        """
        if self.burst:
            return float(self.burst), self.refill
        if not self.documented_limits:
            return None
        if (service, operation) == ("cloudtrail", "LookupEvents"):
            return 2.0, 2.0
        return (100.0, 20.0) if reads else (50.0, 5.0)


CALM = Hardness()


def harsh(seed: int) -> Hardness:
    """Another hardness for each seed, every part of it within what AWS documents."""
    chance = random.Random(f"hardness {seed}")
    return Hardness(
        heals=True,
        lag_s=chance.choice([0.0, 1.0, 5.0, 10.0]),
        burst=chance.choice([0, 5, 20, 100]),
        refill=chance.choice([1.0, 5.0, 20.0]),
        hangs=chance.choice([0.0, 0.3, 1.0]),
        delayed=chance.choice([0.0, 0.3, 1.0]),
        undelivered=chance.choice([0.0, 0.2]),
        failing=chance.choice([0.0, 0.2]),
        no_capacity=chance.choice([0.0, 0.3, 1.0]),
        contended=chance.choice([0.0, 0.1]),
    )
