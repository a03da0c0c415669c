"""Make a running instance a member of a group; it raises the desired capacity by one.

```yaml
- action: attach_instance
  params: {group: web-asg}
```
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import StringConstraints

from actions.aws.inventory import NotActionableError, read_group, read_instance
from actions.base import (
    Action,
    Call,
    CallResult,
    Impact,
    Observation,
    Outcome,
    Params,
    TargetKind,
    Undo,
)


class GroupName(Params):
    group: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./ -]{0,254}$")]


class AttachInstance(Action):
    name: ClassVar[str] = "attach_instance"
    target: ClassVar[TargetKind] = TargetKind.INSTANCE
    impact: ClassVar[Impact] = Impact.REVERSIBLE
    idempotent: ClassVar[bool] = False
    permissions: ClassVar[tuple[str, ...]] = (
        "autoscaling:AttachInstances",
        "autoscaling:DescribeAutoScalingGroups",
        "ec2:DescribeInstances",
    )
    params: ClassVar[type[Params]] = GroupName
    undone_by: ClassVar[str | None] = "detach_instance"

    def observe(self, call: Call) -> Observation:
        found, state = (
            read_group(call.aws, call.params["group"]),
            read_instance(call.aws, call.target).state,
        )
        before = {"group": found.name, "desired": found.desired}
        if call.target in found.members:
            return Observation(already=True, before=before)
        if state != "running":
            raise NotActionableError(f"{call.target} is {state}")
        if found.desired + 1 > found.maximum:
            raise NotActionableError(f"{found.name} is at its maximum of {found.maximum}")
        return Observation(already=False, before=before)

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.autoscaling_once.attach_instances(
            InstanceIds=[call.target], AutoScalingGroupName=call.params["group"]
        )
        return {}

    def read_back(self, call: Call) -> CallResult:
        return CallResult(Outcome.CHANGED if self.unchanged_since(call) else Outcome.FAILED)

    def undo(self, call: Call) -> Undo | None:
        del call
        return Undo("detach_instance", {})

    def unchanged_since(self, call: Call) -> bool:
        return call.target in read_group(call.aws, call.params["group"]).members
