"""Stop one EC2 instance. Its memory and its instance storage are lost.

An Auto Scaling group terminates a member that does not run. It is refused unless the group has
suspended HealthCheck and ReplaceUnhealthy, or the member is in standby: put it there with
`enter_standby` if it shall stay stopped, because a suspension by `suspend_processes` ends with the
run. Refused by name are also an instance with an instance-store root and a one-time Spot Instance,
which EC2 cannot stop, and one with an affinity to its Dedicated Host while that fails. A start as
the next step moves any other instance to another host; `rollback: true` starts it too if the run
ends in between.

```yaml
- action: stop_instance
  when: target.system_check == "impaired"
  before:
    - action: suspend_processes
      params: {processes: [HealthCheck, ReplaceUnhealthy]}
- action: start_instance
  when: target.state == "stopped"
```
"""

from collections.abc import Mapping
from typing import Any

from actions.aws.group_behaviour import EC2_CHECK, require_kept
from actions.aws.groups import read_member
from actions.aws.host_status import read_host_status
from actions.aws.instances import Instance, is_one_time_spot, read_instance
from actions.aws.target_errors import NotActionableError
from actions.base import Call, Impact, Observation
from actions.catalog.ec2._power import STOPPED, ChangesPower


class StopInstance(ChangesPower):
    name = "stop_instance"
    impact = Impact.DISRUPTIVE
    removes_capacity = True
    stops_target = True
    permissions = (
        "autoscaling:DescribeAutoScalingGroups",
        "ec2:DescribeInstanceStatus",
        "ec2:DescribeInstances",
        "ec2:DescribeSpotInstanceRequests",
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
        _require_stoppable(call, instance)
        if instance.group is not None:
            group, member = read_member(call.aws, call.target)
            require_kept(group, member, EC2_CHECK)
        return Observation(already=instance.state in STOPPED, before={"state": instance.state})

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.ec2.stop_instances(InstanceIds=[call.target])
        return {}


def _require_stoppable(call: Call, instance: Instance) -> None:
    """Raises NotActionableError where EC2 can only terminate the instance."""
    if instance.root_device == "instance-store":
        raise NotActionableError(
            f"{instance.id} has an instance-store root and cannot be stopped: replace it"
        )
    # https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyInstancePlacement.html
    if instance.bound_to_host and read_host_status(call.aws, instance.id).must_be_left:
        raise NotActionableError(
            f"{instance.id} is bound to its Dedicated Host, which fails, and starts there again"
        )
    if instance.is_spot and is_one_time_spot(call.aws, instance.id):
        raise NotActionableError(
            f"{instance.id} is a one-time Spot Instance and cannot be stopped: replace it"
        )
