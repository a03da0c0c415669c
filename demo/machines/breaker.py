"""Breaks machines and what is around them, and makes them well again."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from demo.aws.emulator import Emulator
from demo.fleet.faults import FaultError
from demo.machines.guest.faults import ONCE, RUNNING
from demo.machines.member import Member
from demo.machines.network.ports import Network
from demo.machines.traffic.callers import Callers

# Faults that only the hardware under a machine has, or the network beside it.
_OUTSIDE = frozenset({"hardware_failure", "network_card_gone", "packet_loss"})
_OF_GROUP = frozenset({"traffic_surge", "deploy", "bad_deploy"})
# Of the frames in each direction: TCP sends them again, and answers take longer.
_LOSS = 0.1


@dataclass
class Breaker:
    """`bad` are the versions of groups, by name, whose service does not start."""

    aws: Emulator
    sizes: Mapping[str, int]
    members: Mapping[str, Member]
    network: Network
    callers: Callers
    bad: set[tuple[str, str]] = field(default_factory=set)

    def inject(self, target: str, name: str) -> None:
        """Raises FaultError where the fault or the target does not exist, or does not answer."""
        known = {*ONCE, *RUNNING, *_OUTSIDE, *_OF_GROUP}
        if name not in known:
            raise FaultError(f"unknown fault {name!r}; use one of: {', '.join(sorted(known))}")
        if name in _OF_GROUP:
            if target not in self.sizes:
                raise FaultError(f"{name} needs a group of the fleet: {target!r} is none")
            if name == "traffic_surge":
                self.callers.surge(target)
            else:
                self._deploy(target, bad=name == "bad_deploy")
            return
        member = self.members.get(target)
        if member is None:
            raise FaultError(f"{name} needs an instance of the fleet: {target!r} is none")
        if name == "hardware_failure":
            member.machine.freeze()
        elif name == "network_card_gone":
            self.network.plug(member.machine.slot, into=False)
        elif name == "packet_loss":
            self.network.lose(member.machine.slot, _LOSS)
        elif member.machine.run("faults", name) is None and name != "kernel_panic":
            raise FaultError(f"{target} does not answer")

    def repair(self, target: str | None) -> None:
        """Calm the callers, and restart with an empty disk what is not well of the target.

        The target is an instance or a group, or everything if it is None.
        """
        for instance_id, member in list(self.members.items()):
            if target in (None, instance_id, member.group):
                self.network.restore(member.machine.slot)
                member.renew = not member.is_well()
        self.callers.calm()

    def _deploy(self, name: str, *, bad: bool) -> None:
        """As Terraform does it: the group gets a version, and a refresh that does not name it."""
        with self.aws.lock:
            group = self.aws.world.groups[name]
            group.version = str(int(group.version) + 1)
            if bad:
                self.bad.add((name, group.version))
            self.aws.refreshes.start_instance_refresh(
                {"AutoScalingGroupName": name, "Preferences": {"SkipMatching": True}}
            )
