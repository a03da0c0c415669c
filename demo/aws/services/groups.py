"""What an Auto Scaling group does by itself: it launches, terminates, heals and rebalances."""

from collections.abc import Callable
from dataclasses import dataclass, field

from demo.aws.core import Core, moment
from demo.aws.services.elbv2 import Balancers
from demo.aws.world import GROUP_TAG, Group, Instance, Member

_RETRY_S = 60.0


@dataclass
class Groups:
    """What the suspended processes of a group leave undone follows the user guide.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/understand-how-suspending-processes-affects-other-processes.html
    """

    core: Core
    balancers: Balancers
    _watched: bool = field(default=False, init=False)

    def watch(self) -> None:
        """Check health and balance from time to time, if groups heal at all."""
        if self.core.hardness.heals and not self._watched:
            self._watched = True
            self.core.after(self.core.timings.check_s, self._check_all)

    def converge(self, group: Group) -> None:
        """Launch or terminate until the capacity is the desired one."""
        for member in list(group.members.values()):
            if self.core.world.instances[member.id].state == "terminated":
                del group.members[member.id]
        while group.capacity() < group.desired and "Launch" not in group.suspended:
            if not self._launch(group):
                self.core.after(_RETRY_S, lambda: self.converge(group))
                break
        while "Terminate" not in group.suspended:
            surplus = self._surplus(group)
            if surplus is None:
                break
            cause = "a difference between desired and actual capacity"
            self.terminate(group, surplus, cause, reused=group.reuses)

    def terminate(self, group: Group, member: Member, cause: str, *, reused: bool = False) -> None:
        """It is deregistered first, and terminated when its connections are drained.

        One that is `reused` is stopped, and goes to the warm pool.
        https://docs.aws.amazon.com/autoscaling/ec2/userguide/warm-pool-instance-lifecycle.html
        """
        member.lifecycle = "Terminating"
        self._record(group, f"Terminating EC2 instance: {member.id}", cause)
        delay = self.balancers.drain_all(group, member.id)
        instance = self.core.world.instances[member.id]

        def end() -> None:
            instance.state = "stopped" if reused else "terminated"
            group.members.pop(member.id, None)
            if reused and group.warm is not None:
                group.warm.append(member.id)

        def shut_down() -> None:
            instance.state = "stopping" if reused else "shutting-down"
            self.core.after(self.core.timings.terminate_s, end)

        if delay:
            self.core.after(delay, shut_down)
        else:
            shut_down()
        self.converge(group)

    def leave(self, group: Group, member: Member, by: str, to: str) -> None:
        """Into standby, or out of the group: it reaches that state when it is drained."""
        member.lifecycle = by
        delay = self.balancers.drain_all(group, member.id)

        def arrive() -> None:
            if member.lifecycle != by:
                return
            member.lifecycle = to
            if to == "Detached":
                group.members.pop(member.id, None)
                self.core.world.instances[member.id].tags.pop(GROUP_TAG, None)

        self.core.after(delay + self.core.timings.move_s, arrive)
        self.converge(group)

    def enter(self, group: Group, member: Member) -> None:
        """Back from standby, or attached: pending first."""
        member.lifecycle = "Pending"
        self.core.after(self.core.timings.move_s, self._serve(group, member))

    def check(self, group: Group) -> None:
        """The health check, and what the group does about those that fail it.

        https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-health-checks.html
        """
        serving = [member for member in group.members.values() if member.lifecycle == "InService"]
        if "HealthCheck" not in group.suspended:
            for member in serving:
                if self._is_ill(group, member):
                    member.health = "Unhealthy"
        if not {"ReplaceUnhealthy", "Terminate"} & group.suspended:
            for member in serving:
                if member.health == "Unhealthy":
                    cause = "an instance was taken out of service in response to a health check"
                    self.terminate(group, member, cause)

    def rebalance(self, group: Group) -> None:
        """Launch in the emptiest zone first; the fullest loses a member when that one serves.

        The group may be larger than its maximum meanwhile, by a tenth or by one.
        https://docs.aws.amazon.com/autoscaling/ec2/userguide/auto-scaling-benefits.html
        """
        if {"AZRebalance", "Launch"} & group.suspended:
            return
        zones = group.by_zone()
        few, many = (pick(zones, key=lambda zone: len(zones[zone])) for pick in (min, max))
        room = group.desired + max(1, group.maximum // 10) - group.capacity()
        if len(zones[many]) - len(zones[few]) > 1 and room > 0:
            self._launch(group, few)

    def _check_all(self) -> None:
        for group in list(self.core.world.groups.values()):
            self.check(group)
            self.rebalance(group)
        self.core.after(self.core.timings.check_s, self._check_all)

    def _is_ill(self, group: Group, member: Member) -> bool:
        instance = self.core.world.instances[member.id]
        # The grace period is no excuse for an instance that does not run.
        if instance.state != "running":
            return True
        if self.core.now < member.in_service_at + group.grace_s:
            return False
        unserved = group.checks == "ELB" and not self.balancers.serves_all(group, member.id)
        return bool(instance.impaired) or unserved

    def _surplus(self, group: Group) -> Member | None:
        """The member to lose: of the fullest zone, the oldest that is not protected."""
        excess = group.capacity("InService") - group.desired
        zones = group.by_zone()
        candidates = [
            member
            for member in group.members.values()
            if member.lifecycle == "InService" and not member.protected and member.units <= excess
        ]
        return max(candidates, key=lambda member: len(zones[member.az]), default=None)

    def _launch(self, group: Group, zone: str = "") -> bool:
        message = group.launch_error
        if not message and self.core.often(self.core.hardness.no_capacity):
            message = "We currently do not have sufficient c6i.large capacity in the zone."
        if message:
            self._record(group, "Launching a new EC2 instance", message, "Failed")
            return False
        zones = group.by_zone()
        zone = zone or min(zones, key=lambda name: len(zones[name]))
        instance_id = group.warm.pop() if group.warm else self.core.new_id("i")
        instance = Instance(instance_id, zone, "pending", self.core.now)
        instance.tags = {**group.tags, GROUP_TAG: group.name}
        self.core.world.instances[instance_id] = instance
        self.core.boot(instance, self.core.timings.launch_s)
        template, version = group.launches
        member = Member(instance_id, zone, "Pending", template=template, version=version)
        member.weight = group.weight
        group.members[instance_id] = member
        self._record(group, f"Launching a new EC2 instance: {instance_id}", "capacity is short")

        def run() -> None:
            if instance.state == "pending":
                instance.state = "running"

        self.core.after(self.core.timings.start_s, run)
        self.core.after(self.core.timings.launch_s, self._serve(group, member))
        return True

    def _serve(self, group: Group, member: Member) -> Callable[[], None]:
        def serve() -> None:
            if member.lifecycle != "Pending":
                return
            member.lifecycle, member.in_service_at = "InService", self.core.now
            if "AddToLoadBalancer" not in group.suspended:
                for target_group in self.balancers.of(group):
                    self.balancers.register(target_group, member.id, target_group.port)
            self.converge(group)

        return serve

    def _record(self, group: Group, text: str, cause: str, status: str = "Successful") -> None:
        group.activities.insert(
            0,
            {
                "ActivityId": self.core.new_id("activity"),
                "AutoScalingGroupName": group.name,
                "Description": text,
                "Cause": cause,
                "StartTime": moment(self.core.now),
                "StatusCode": status,
                **({"StatusMessage": cause} if status == "Failed" else {}),
            },
        )
