"""Reboot one EC2 instance.

The call is made at most once, because it is not idempotent and no state of EC2 shows the reboot.
The host's boot time proves the reboot. Memory is lost; the address and the disks stay. The instance
stays on its host: while EC2's system status check or that of an attached EBS volume fails, the
reboot is refused.

A group that uses its load balancer's health checks replaces a member that boots: the step is
refused unless HealthCheck and ReplaceUnhealthy are suspended, as below, or the member is in
standby. A step `before` on the group is left out for an instance of no group.

```yaml
- action: reboot_instance
  before:
    - action: suspend_processes
      params: {processes: [HealthCheck, ReplaceUnhealthy]}
  when: verdict.answer == "confirmed" and not group.surging
```
"""

from collections.abc import Mapping
from typing import Any

from actions.aws.group_behaviour import BALANCER_CHECKS, require_kept
from actions.aws.groups import find_member
from actions.aws.instances import read_instance
from actions.aws.target_errors import NotActionableError
from actions.base import Action, Call, CallResult, Impact, Observation, Outcome, TargetKind

# The host's clock, which dates the boot, may be this far behind this service's clock.
_CLOCK_SKEW_S = 30
# EC2 reboots a host the hard way if it does not shut down "within a few minutes"; it has waited
# four. https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_RebootInstances.html
_HARD_REBOOT_S, _BOOT_S = 240.0, 90.0


class RebootInstance(Action):
    name = "reboot_instance"
    target = TargetKind.INSTANCE
    impact = Impact.DISRUPTIVE
    removes_capacity = True
    stays_on_host = True
    idempotent = False
    takes_up_to_s = _HARD_REBOOT_S + _BOOT_S
    shows_end = False
    permissions = (
        "autoscaling:DescribeAutoScalingGroups",
        "ec2:DescribeInstances",
        "ec2:RebootInstances",
    )

    def observe(self, call: Call) -> Observation:
        instance = read_instance(call.aws, call.target)
        if instance.state != "running":
            raise NotActionableError(
                f"{call.target} is {instance.state}: only a running instance can be rebooted"
            )
        if instance.group is not None:
            require_kept(*find_member(call.aws, instance, call.group), BALANCER_CHECKS)
        return Observation(already=False, before={"launched_at": instance.launched_at})

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.ec2_once.reboot_instances(InstanceIds=[call.target])
        return {}

    def read_back(self, call: Call) -> CallResult:
        del call
        return CallResult(Outcome.UNKNOWN)

    def recovery_expr(self, boot_time: str, dispatched_at: float) -> str | None:
        since = dispatched_at - _CLOCK_SKEW_S
        return f"({boot_time}) > bool {since:.0f}"
