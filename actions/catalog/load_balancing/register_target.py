"""Put one running instance back into its load balancer's target groups.

```yaml
- action: register_target
```
"""

from collections.abc import Mapping
from typing import Any

from actions.aws.groups import read_group
from actions.aws.instances import read_instance
from actions.aws.target_errors import NotActionableError
from actions.base import Call, Observation
from actions.catalog.load_balancing._registration import ChangesRegistration, registered


class RegisterTarget(ChangesRegistration):
    name = "register_target"
    allowed_during_changes = True
    permissions = (
        "autoscaling:DescribeAutoScalingGroups",
        "ec2:DescribeInstances",
        "elasticloadbalancing:DescribeTargetHealth",
        "elasticloadbalancing:RegisterTargets",
    )
    undone_by = "deregister_target"
    registers = True
    final = "healthy"

    def observe(self, call: Call) -> Observation:
        instance = read_instance(call.aws, call.target)
        if instance.state != "running":
            raise NotActionableError(
                f"{call.target} is {instance.state}: only a running instance can be registered"
            )
        arns = call.params.get("target_groups") or (
            list(read_group(call.aws, instance.group).target_groups) if instance.group else []
        )
        if not arns:
            raise NotActionableError(
                f"{call.target} belongs to no target group: name some in `target_groups`"
            )
        present = registered(call.aws, call.target, arns)
        missing = [arn for arn in arns if arn not in present]
        return Observation(already=not missing, before={"target_groups": missing})

    def act(self, call: Call) -> Mapping[str, Any]:
        for arn in call.before["target_groups"]:
            call.aws.elbv2.register_targets(TargetGroupArn=arn, Targets=[{"Id": call.target}])
        return {}
