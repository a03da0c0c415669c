"""Records of what limits a step: claims, attempts, circuit breakers, disruption budgets."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from actions.place import Place
from actions.step_key import StepKey


@dataclass(frozen=True, kw_only=True)
class Claim:
    place: Place
    target: str
    run_id: str
    fence: int
    cooldown_until: float
    held: bool


@dataclass(frozen=True, kw_only=True)
class Rates:
    """The most attempts allowed in any hour or day."""

    target_per_hour: int = 3
    target_per_day: int = 7
    group_per_hour: int = 10
    playbook_per_hour: int = 30


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """The number of attempts in the last hour and day."""

    target_hour: int
    target_day: int
    group_hour: int
    playbook_hour: int


@dataclass(frozen=True, kw_only=True)
class Breaker:
    """The circuit breaker of a playbook in one place. `probe` is a half-open one's trial run."""

    account: str = ""
    region: str = ""
    playbook: str
    failures: int = 0
    opened_at: float | None = None
    probe: str | None = None


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How much of a group may be out of service at once.

    `percent` of its instances, but at least one; `min_healthy` instances must stay, by default the
    group's own minimum.
    """

    percent: float = 10.0
    min_healthy: int | None = None


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Instances that are counted together: of a group, of one of its zones, of a target group.

    `out` has the members that AWS does not count as serving. After an act at most `limit` members
    may be out, and at least `floor` must serve: instances, or units of capacity where `units` has
    each member's.
    """

    name: str
    members: frozenset[str]
    out: frozenset[str]
    limit: int
    floor: int
    units: Mapping[str, int] = field(default_factory=dict)

    def count(self, members: Collection[str]) -> int:
        """The instances, or the units of these members."""
        return sum(self.units.get(member, 1) for member in members)


@dataclass(frozen=True, kw_only=True)
class ClaimRequest:
    """The target that a run wants to claim, and the limits of the claim.

    No other run may hold one of `must_be_free`. `counts`: the rate limits and the circuit breaker
    apply. `scopes` are the scopes in which the target would be out of service. Only a pause of
    everything refuses a claim that `reverses` a step.
    """

    run_id: str
    step: StepKey
    place: Place
    target: str
    group: str
    playbook: str
    cooldown_s: float
    rates: Rates
    counts: bool
    reverses: bool = False
    must_be_free: Sequence[str] = ()
    scopes: Sequence[Scope] = ()


# The percentage of the opted-in instances outside groups that may be out of service at once.
STANDALONE_PERCENT = 5.0


def share(percent: float, size: int) -> int:
    """The number that `percent` of `size` instances makes, rounded down, but at least one."""
    return max(1, int(size * percent / 100))
