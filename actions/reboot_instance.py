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

from actions.action import Observation, Outcome, Params, TargetKind
from actions.aws import Aws
from actions.fleet import NotActionableError, instance


class RebootInstance:
    name: ClassVar[str] = "reboot_instance"
    target: ClassVar[TargetKind] = TargetKind.INSTANCE
    converges: ClassVar[bool] = False
    permissions: ClassVar[tuple[str, ...]] = ("ec2:DescribeInstances", "ec2:RebootInstances")
    params: ClassVar[type[Params]] = Params

    def resolve(self, aws: Aws, target: str, params: Mapping[str, Any]) -> dict[str, Any]:
        del aws, target
        return dict(params)

    def observe(self, aws: Aws, target: str, params: Mapping[str, Any]) -> Observation:
        del params
        found = instance(aws, target)
        if found.state != "running":
            raise NotActionableError(f"{target} is {found.state}, only a running one is rebooted")
        return Observation(already=False, before={"launched_at": found.launched_at})

    def act(self, aws: Aws, target: str, params: Mapping[str, Any]) -> None:
        del params
        aws.ec2_once.reboot_instances(InstanceIds=[target])

    def reconcile(
        self, aws: Aws, target: str, params: Mapping[str, Any], before: Mapping[str, Any]
    ) -> Outcome:
        del aws, target, params, before
        return Outcome.UNKNOWN

    def proof(self, target: str, dispatched_at: float) -> str | None:
        # Boot time is the host's clock; half a minute of difference to ours is forgiven.
        return f'node_boot_time_seconds{{instance_id="{target}"}} > {dispatched_at - 30:.0f}'
