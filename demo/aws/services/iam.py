"""IAM's answer to a call: whether the policy of its access key allows it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from moto.iam.access_control import IAMPolicy, PermissionResult

from demo.aws.calls import Call
from demo.aws.world import World

_SERVICES = {"elbv2": "elasticloadbalancing"}


def is_denied(policy: Mapping[str, Any], call: Call, world: World) -> bool:
    rules = IAMPolicy(json.dumps(policy))
    return any(
        rules.is_action_permitted(action, resource) is not PermissionResult.PERMITTED
        for action in _actions(call)
        for resource in _resources(call, world)
    )


def _actions(call: Call) -> Sequence[str]:
    """Who names a launch template must be allowed to launch from it.

    https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-launch-template-permissions.html
    """
    named = "LaunchTemplate" in call.parameters.get("DesiredConfiguration", {})
    launches = ["ec2:RunInstances"] if named else []
    return [f"{_SERVICES.get(call.service, call.service)}:{call.operation}", *launches]


def _resources(call: Call, world: World) -> Sequence[str]:
    """A command needs its document and each of its instances; other calls name no resource."""
    if call.operation != "SendCommand":
        return ["*"]
    account = f"{world.region}:{world.account}"
    instances = [
        f"arn:aws:ec2:{account}:instance/{name}" for name in call.parameters["InstanceIds"]
    ]
    return [*instances, f"arn:aws:ssm:{account}:document/{call.parameters['DocumentName']}"]
