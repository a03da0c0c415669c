"""Put one running instance back into its load balancer's target groups.

`targets` are its targets by address and port, as a rollback names them; without any it is
registered by its id, on the port of each target group.

```yaml
- action: register_target
```
"""

from collections.abc import Mapping
from functools import partial
from itertools import chain
from typing import Any

from actions.aws.groups import read_group
from actions.aws.instances import Instance, read_instance
from actions.aws.target_errors import NotActionableError, make_in_turn
from actions.aws.target_health import read_targets
from actions.base import Call, Observation
from actions.catalog.load_balancing._registration import (
    ChangesRegistration,
    Registrations,
    named,
    planned,
    target_groups_of,
    to_arguments,
)


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
    # Ten health checks, 30 seconds apart.
    takes_up_to_s = 300.0
    registers = True

    def observe(self, call: Call) -> Observation:
        instance = read_instance(call.aws, call.target)
        if instance.state != "running":
            raise NotActionableError(
                f"{call.target} is {instance.state}: only a running instance can be registered"
            )
        missing: dict[str, list[list[Any]]] = {}
        for arn, wanted in self._wanted(call, instance).items():
            present = {
                (target.id, port)
                for target in read_targets(call.aws, arn)
                if target.registered
                for port in (target.port, None)
            }
            targets = [[id_, port] for id_, port in wanted if (id_, port) not in present]
            if targets:
                missing[arn] = targets
        return Observation(already=not missing, before={"targets": missing})

    def act(self, call: Call) -> Mapping[str, Any]:
        register = call.aws.elbv2.register_targets
        make_in_turn(
            *(
                partial(register, **to_arguments(arn, targets))
                for arn, targets in planned(call).items()
            )
        )
        return {}

    @staticmethod
    def _wanted(call: Call, instance: Instance) -> Registrations:
        """The targets to register. Raises NotActionableError."""
        if wanted := named(call):
            for target_id, _ in chain(*wanted.values()):
                if target_id not in {instance.id, *instance.addresses}:
                    raise NotActionableError(f"{target_id} is no address of {instance.id}")
            return wanted
        arns = call.params.get("target_groups") or (
            target_groups_of(read_group(call.aws, instance.group)) if instance.group else []
        )
        if not arns:
            raise NotActionableError(
                f"{call.target} belongs to no target group: name some in `target_groups`"
            )
        return {arn: [(call.target, None)] for arn in arns}
