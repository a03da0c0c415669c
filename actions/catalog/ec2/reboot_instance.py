"""Reboot one EC2 instance.

The call queues a request, is not idempotent, and no state of EC2 shows that it happened: it is
made at most once, and proven by the operating system's boot time. Memory is lost, the address
and the disks stay.

```yaml
- action: reboot_instance
  when: verdict.answer == "confirmed" and not group.surging
```
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from actions.aws.inventory import NotActionableError, read_instance
from actions.base import Action, Call, CallResult, Impact, Observation, Outcome, TargetKind


class RebootInstance(Action):
    name: ClassVar[str] = "reboot_instance"
    target: ClassVar[TargetKind] = TargetKind.INSTANCE
    impact: ClassVar[Impact] = Impact.DISRUPTIVE
    removes_capacity: ClassVar[bool] = True
    idempotent: ClassVar[bool] = False
    permissions: ClassVar[tuple[str, ...]] = ("ec2:DescribeInstances", "ec2:RebootInstances")

    def observe(self, call: Call) -> Observation:
        found = read_instance(call.aws, call.target)
        if found.state != "running":
            raise NotActionableError(
                f"{call.target} is {found.state}, only a running one is rebooted"
            )
        return Observation(already=False, before={"launched_at": found.launched_at})

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.ec2_once.reboot_instances(InstanceIds=[call.target])
        return {}

    def read_back(self, call: Call) -> CallResult:
        del call
        return CallResult(Outcome.UNKNOWN)

    def recovery_expr(self, call: Call, dispatched_at: float) -> str | None:
        # Boot time is the host's clock; half a minute of difference to ours is forgiven.
        return f'node_boot_time_seconds{{instance_id="{call.target}"}} > {dispatched_at - 30:.0f}'
