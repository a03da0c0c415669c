"""Start one stopped EC2 instance, typically on another host than before.

Where a run itself has stopped the instance, it is started whatever its metrics say: a stopped
instance has none. One that somebody else stopped or hibernated through EC2's API is started only at
a person's request; one that EC2 stopped, or that shut down by itself, is started. One that waits in
its group's warm pool is refused: the group starts it when it needs it.

```yaml
- action: start_instance
  when: target.state == "stopped"
```
"""

from collections.abc import Mapping
from typing import Any

from actions.aws.groups import find_member
from actions.aws.instances import read_instance
from actions.aws.target_errors import NotActionableError
from actions.base import Call, Impact, Observation
from actions.catalog.ec2._power import RUNNING, ChangesPower


class StartInstance(ChangesPower):
    name = "start_instance"
    impact = Impact.REVERSIBLE
    permissions = (
        "autoscaling:DescribeAutoScalingGroups",
        "ec2:DescribeInstances",
        "ec2:StartInstances",
    )
    undone_by = "stop_instance"
    instance_states = frozenset({"running", "stopped"})
    reached = RUNNING
    final = "running"

    def observe(self, call: Call) -> Observation:
        instance = read_instance(call.aws, call.target)
        state = instance.state
        if state not in RUNNING | {"stopped"}:
            raise NotActionableError(
                f"{call.target} is {state}: only a stopped instance can be started"
            )
        if instance.group is not None and not call.reverses:
            find_member(call.aws, instance, call.group)
        return Observation(already=state in RUNNING, before={"state": state})

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.ec2.start_instances(InstanceIds=[call.target])
        return {}
