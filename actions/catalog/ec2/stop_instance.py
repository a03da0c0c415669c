"""Stop one EC2 instance. Its memory and its instance storage are lost.

An Auto Scaling group that replaces unhealthy instances would terminate a stopped member: such a
member is refused, unless it is in standby.

```yaml
- action: stop_instance
```
"""

from collections.abc import Mapping
from typing import Any

from actions.aws.groups import read_member
from actions.aws.instances import read_instance
from actions.aws.target_errors import NotActionableError
from actions.base import Call, Impact, Observation
from actions.catalog.ec2._power import STOPPED, ChangesPower


class StopInstance(ChangesPower):
    name = "stop_instance"
    impact = Impact.DISRUPTIVE
    removes_capacity = True
    permissions = (
        "autoscaling:DescribeAutoScalingGroups",
        "ec2:DescribeInstances",
        "ec2:StopInstances",
    )
    undone_by = "start_instance"
    reached = STOPPED
    final = "stopped"

    def observe(self, call: Call) -> Observation:
        instance = read_instance(call.aws, call.target)
        if instance.state not in STOPPED | {"running"}:
            raise NotActionableError(
                f"{call.target} is {instance.state}: only a running instance can be stopped"
            )
        if instance.group is not None:
            group, member = read_member(call.aws, call.target)
            if "ReplaceUnhealthy" not in group.suspended and member.lifecycle != "Standby":
                raise NotActionableError(
                    f"{group.name} would replace {call.target}: suspend ReplaceUnhealthy first"
                )
        return Observation(already=instance.state in STOPPED, before={"state": instance.state})

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.ec2.stop_instances(InstanceIds=[call.target])
        return {}
