"""The targets of the emulated load balancer, as the real one has them."""

from collections.abc import Mapping

from demo.aws.emulator import Emulator
from demo.machines.balancer import DRAIN, OFF, READY, Balancer
from demo.machines.member import Member


def register(aws: Emulator, members: Mapping[str, Member], balancer: Balancer) -> None:
    """Give the balancer the targets that AWS has.

    A security group that lets nothing in closes no connection that it tracks
    (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/security-group-connection-tracking.html).
    """
    with aws.lock:
        states = {
            (group.name, target.id): DRAIN if target.draining_until else READY
            for group in aws.world.target_groups.values()
            for target in group.targets
        }
        # Those that nothing reaches, and whether a connection of theirs is tracked.
        cut_off = {
            instance.id: any(instance.tracked.values())
            for instance in aws.world.instances.values()
            if not aws.core.is_reachable(instance)
        }
    for instance_id, member in members.items():
        name = member.group.removesuffix("-asg")
        state = OFF if instance_id in cut_off else states.get((name, instance_id), OFF)
        balancer.set(name, member.machine.slot, state)
        if instance_id in cut_off and not cut_off[instance_id]:
            balancer.cut(name, member.machine.slot)
