"""What AWS says of the machines' traffic: who is a target, and what a security group lets in."""

from collections.abc import Mapping

from demo.aws.emulator import Emulator
from demo.machines.member import Member
from demo.machines.network.port_filter import Access
from demo.machines.network.ports import Network
from demo.machines.traffic.balancer import DRAIN, OFF, READY, Balancer


def register(aws: Emulator, members: Mapping[str, Member], balancer: Balancer) -> None:
    """Give the balancer the targets that AWS has."""
    with aws.lock:
        states = {
            (group.name, target.id): DRAIN if target.draining_until else READY
            for group in aws.world.target_groups.values()
            for target in group.targets
        }
    for instance_id, member in members.items():
        name = member.group.removesuffix("-asg")
        state = states.get((name, instance_id), OFF)
        balancer.set(name, member.machine.slot, state)


def guard(aws: Emulator, members: Mapping[str, Member], network: Network) -> None:
    """Give each port of the switch what the security groups of its machine let through.

    Which connections go on without a rule is in `Networks.modify_network_interface_attribute`:
    those that a group tracked, as it does for every member while it is reachable.
    """
    accesses = {}
    with aws.lock:
        groups = aws.world.security_groups
        for instance_id in members:
            instance = aws.world.instances[instance_id]
            if aws.core.is_reachable(instance):
                accesses[instance_id] = Access.OPEN
                instance.tracked = {
                    interface: any(groups[name].tracks for name in names if name in groups)
                    for interface, names in instance.interfaces.items()
                }
            else:
                goes_on = any(instance.tracked.values())
                accesses[instance_id] = Access.TRACKED if goes_on else Access.CLOSED
    for instance_id, access in accesses.items():
        members[instance_id].cut_off = access is not Access.OPEN
        network.allow(members[instance_id].machine.slot, access)
