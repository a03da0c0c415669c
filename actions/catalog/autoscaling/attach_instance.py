"""Make a running instance a member of a group; it raises the desired capacity by one.

The group runs its lifecycle hooks, registers the instance with its load balancers and checks its
health from then on: it replaces one that is ill. A group that has suspended Launch is refused, and
an instance in quarantine.

```yaml
- action: attach_instance
  params: {group: web-asg}
```
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import StringConstraints

from actions.aws.group_behaviour import require_processes
from actions.aws.groups import GROUP_NAME, read_group
from actions.aws.instances import read_instance
from actions.aws.tags import QUARANTINE_TAG
from actions.aws.target_errors import NotActionableError
from actions.base import (
    Action,
    Call,
    CallResult,
    Impact,
    Observation,
    Outcome,
    Params,
    Progress,
    TargetKind,
    Undo,
)
from actions.catalog.autoscaling._capacity import check_room


class AttachInstanceParams(Params):
    group: Annotated[str, StringConstraints(pattern=f"^{GROUP_NAME.pattern}$")]


class AttachInstance(Action):
    name = "attach_instance"
    target = TargetKind.INSTANCE
    impact = Impact.REVERSIBLE
    takes_outsiders = True
    idempotent = False
    # A hook may hold the member back for an hour.
    takes_up_to_s = 3_600.0
    permissions = (
        "autoscaling:AttachInstances",
        "autoscaling:DescribeAutoScalingGroups",
        "ec2:DescribeInstances",
    )
    params = AttachInstanceParams
    undone_by = "detach_instance"

    def observe(self, call: Call) -> Observation:
        group = read_group(call.aws, call.params["group"])
        instance = read_instance(call.aws, call.target)
        before = {"group": group.name, "desired": group.desired}
        if call.target in group.members:
            return Observation(already=True, before=before)
        if instance.state != "running":
            raise NotActionableError(
                f"{call.target} is {instance.state}: only a running instance can be attached"
            )
        if QUARANTINE_TAG in instance.tags:
            raise NotActionableError(
                f"{call.target} is in quarantine: its group would replace it in service"
            )
        require_processes(group, "Launch")
        # Its weight is unknown until it is a member.
        check_room(group, group.largest_units)
        return Observation(already=False, before=before)

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.autoscaling_once.attach_instances(
            InstanceIds=[call.target], AutoScalingGroupName=call.params["group"]
        )
        return {}

    def read_back(self, call: Call) -> CallResult:
        return CallResult(Outcome.CHANGED if self.unchanged_since(call) else Outcome.FAILED)

    def progress(self, call: Call) -> Progress:
        member = read_group(call.aws, call.params["group"]).members.get(call.target)
        return Progress.DONE if member is not None and member.serves else Progress.UNDERWAY

    def undo(self, call: Call) -> Undo | None:
        del call
        return Undo("detach_instance", {})

    def unchanged_since(self, call: Call) -> bool:
        return call.target in read_group(call.aws, call.params["group"]).members
