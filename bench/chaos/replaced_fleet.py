"""A group of six whose members are replaced, and what became of each replacement."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from demo.aws.calls import Call
from demo.aws.emulator import Emulator
from demo.aws.world import Group, target_group_arn

SIZE, GROUP, _ARN = 6, "web-asg", target_group_arn("web")


class ReplaceMode(StrEnum):
    LAUNCH_FIRST = "launch_first"
    TERMINATE_FIRST = "terminate_first"


@dataclass(frozen=True, kw_only=True)
class Replaced:
    """What became of one replacement; `added` is what the capacity has more than before."""

    mode: ReplaceMode
    cut_off: bool
    fewest: int
    gone: bool
    others_terminated: int
    terminations: int
    added: int

    @property
    def faults(self) -> Sequence[str]:
        """A termination without a decrement may be sent again after a crash: it changes nothing."""
        first = self.mode is ReplaceMode.LAUNCH_FIRST
        found = {
            "fewer healthy": self.fewest < SIZE - (not first),
            "terminated twice": first and self.terminations > 1,
            "another terminated": self.others_terminated > 0,
            "another capacity": self.added != 0,
        }
        return [fault for fault, is_so in found.items() if is_so]


@dataclass
class ReplacedFleet:
    """The group on an emulated AWS; `fewest` served since `begin`."""

    emulator: Emulator
    delay_s: float
    fewest: int = field(default=SIZE, init=False)

    def __post_init__(self) -> None:
        group = Group(GROUP, 4, 12, SIZE, target_groups=[_ARN])
        hosts = [f"i-{number:017x}" for number in range(SIZE)]
        world = self.emulator.world
        world.add_group(group, hosts, self.emulator.core.now - 86_400)
        world.target_groups[_ARN].delay_s = self.delay_s

    @property
    def serving(self) -> Sequence[str]:
        """The members that serve by their group and by their target group."""
        with self.emulator.lock:
            self.emulator.pass_time()
            targets = self.emulator.world.target_groups[_ARN].targets
            registered = {target.id for target in targets if target.draining_until is None}
            members = self.emulator.world.groups[GROUP].members.values()
            return [
                member.id
                for member in members
                if member.lifecycle == "InService" and member.id in registered
            ]

    def begin(self) -> Sequence[str]:
        """Count again. Returns who serves."""
        self.fewest = SIZE
        return self.serving

    def count(self) -> None:
        self.fewest = min(self.fewest, len(self.serving))

    def replaced(
        self,
        mode: ReplaceMode,
        target: str,
        before: Sequence[str],
        calls: Sequence[Call],
        *,
        cut_off: bool,
    ) -> Replaced:
        """What became of a replacement of `target`, one of those `before`, by these calls."""
        group = self.emulator.world.groups[GROUP]
        terminated = [
            call.parameters["InstanceId"]
            for call in calls
            if call.operation == "TerminateInstanceInAutoScalingGroup"
        ]
        return Replaced(
            mode=mode,
            cut_off=cut_off,
            fewest=self.fewest,
            gone=target not in group.members,
            terminations=terminated.count(target),
            others_terminated=len(set(terminated) & set(before) - {target}),
            added=group.desired - SIZE,
        )
