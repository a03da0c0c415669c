"""The health of a target group's members, as the load balancer sees it."""

from collections.abc import Mapping

from actions.aws.client_set import Aws

# Health states of targets that get no new connections.
UNREGISTERED = frozenset({"unused", "draining"})


def read_target_states(aws: Aws, arn: str) -> Mapping[str, str]:
    """Health state by instance id, of a target group. Raises botocore's errors."""
    answer = aws.elbv2.describe_target_health(TargetGroupArn=arn)
    return {
        target.get("Target", {}).get("Id", ""): target.get("TargetHealth", {}).get("State", "")
        for target in answer["TargetHealthDescriptions"]
    }


def read_target_health(aws: Aws, arn: str) -> tuple[frozenset[str], frozenset[str]]:
    """Registered instances of a target group, and the healthy among them."""
    states = read_target_states(aws, arn)
    registered = frozenset(target for target, state in states.items() if state not in UNREGISTERED)
    return registered, frozenset(target for target in registered if states[target] == "healthy")
