"""Load balancing: targets by (id, port), their health and draining, and the rules of listeners."""

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from demo.aws.core import Core
from demo.aws.world import VPC, AwsError, Group, Instance, Target, TargetGroup

_DELAY = "deregistration_delay.timeout_seconds"


@dataclass
class Balancers:
    """A target that is deregistered is `draining` for the group's whole delay.

    "Even though target deregistration is complete, the status of the target is displayed as
    draining until the deregistration delay expires."
    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html
    """

    core: Core

    def describe_target_groups(self, request: Mapping[str, Any]) -> dict[str, Any]:
        arns = request.get("TargetGroupArns")
        groups = [
            {"TargetGroupArn": group.arn, "TargetGroupName": group.name, "Port": group.port}
            | {"Protocol": "HTTP", "VpcId": VPC, "TargetType": group.kind}
            | {"LoadBalancerArns": group.balancers}
            for group in self.core.world.target_groups.values()
            if not arns or group.arn in arns
        ]
        return {"TargetGroups": groups}

    def describe_target_group_attributes(self, request: Mapping[str, Any]) -> dict[str, Any]:
        group = self._group(request)
        attributes = {_DELAY: f"{group.delay_s:g}", **group.attributes}
        return {"Attributes": [{"Key": key, "Value": value} for key, value in attributes.items()]}

    def describe_target_health(self, request: Mapping[str, Any]) -> dict[str, Any]:
        group = self._group(request)
        described = {
            (target.id, target.port): self.health(group, target) for target in group.targets
        }
        if "Targets" in request:
            asked = [
                (target["Id"], target.get("Port", group.port)) for target in request["Targets"]
            ]
            none = ("unused", "Target.NotRegistered")
            described = {key: described.get(key, none) for key in asked}
        return {
            "TargetHealthDescriptions": [
                {
                    "Target": {"Id": target_id, "Port": port},
                    "TargetHealth": {"State": state, **({"Reason": reason} if reason else {})},
                }
                for (target_id, port), (state, reason) in described.items()
            ]
        }

    def register_targets(self, request: Mapping[str, Any]) -> None:
        group = self._group(request)
        for target in request["Targets"]:
            if group.kind == "instance":
                self._check_running(target["Id"])
            elif target["Id"] in self.core.world.instances:
                raise AwsError("ValidationError", f"'{target['Id']}' is not a valid IPv4 address")
            self.register(group, target["Id"], target.get("Port", group.port))

    def deregister_targets(self, request: Mapping[str, Any]) -> None:
        """By (id, port); of what is not registered nothing is said.

        "If you specified a port override when you registered a target, you must specify both the
        target ID and the port when you deregister it." "If the specified target does not exist, the
        action returns successfully."
        https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DeregisterTargets.html
        """
        group = self._group(request)
        for asked in request["Targets"]:
            key = (asked["Id"], asked.get("Port", group.port))
            self._drain(
                group, [target for target in group.targets if (target.id, target.port) == key]
            )

    def describe_rules(self, request: Mapping[str, Any]) -> dict[str, Any]:
        rules = [
            {"RuleArn": arn, "Priority": "1", "Actions": copy.deepcopy(self._rule(arn))}
            for arn in request.get("RuleArns", ())
        ]
        return {"Rules": rules}

    def modify_rule(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Refused with a TargetGroupArn next to several weighted groups."""
        arn, actions = request["RuleArn"], request["Actions"]
        self._rule(arn)
        for action in actions:
            groups = action.get("ForwardConfig", {}).get("TargetGroups", [])
            if len(groups) > 1 and "TargetGroupArn" in action:
                message = "A target group ARN and a forward config must name the same target group"
                raise AwsError("ValidationError", message)
            oidc = action.get("AuthenticateOidcConfig", {})
            if oidc and not {"ClientSecret", "UseExistingClientSecret"} & oidc.keys():
                raise AwsError("ValidationError", "A client secret must be specified")
        self.core.world.rules[arn] = copy.deepcopy(actions)
        return {"Rules": [{"RuleArn": arn, "Priority": "1", "Actions": actions}]}

    def health(self, group: TargetGroup, target: Target) -> tuple[str, str]:
        """State and reason of a registered target; the first that applies."""
        instance = self._behind(target)
        gone = instance is None or instance.state in {"stopped", "terminated"}
        serves = not gone and instance is not None and self.core.serves(instance)
        new = self.core.now < target.since + self.core.timings.register_s
        for applies, state, reason in (
            (target.draining_until is not None, "draining", "Target.DeregistrationInProgress"),
            (target.id in group.states, group.states.get(target.id, ""), ""),
            (not group.used, "unused", "Target.NotInUse"),
            (gone, "unused", "Target.InvalidState"),
            (not group.checked, "unavailable", "Target.HealthCheckDisabled"),
            (new, "initial", "Elb.RegistrationInProgress"),
            (serves, "healthy", ""),
        ):
            if applies:
                return state, reason
        return "unhealthy", "Target.Timeout"

    def register(self, group: TargetGroup, target_id: str, port: int) -> None:
        kept = [target for target in group.targets if (target.id, target.port) != (target_id, port)]
        group.targets = [*kept, Target(target_id, port, self.core.now)]

    def serves_all(self, group: Group, instance_id: str) -> bool:
        """Whether each of the Auto Scaling group's target groups finds the instance healthy."""
        return all(
            any(
                target.id == instance_id and self.health(target_group, target)[0] == "healthy"
                for target in target_group.targets
            )
            for target_group in self.of(group)
        )

    def drain_all(self, group: Group, instance_id: str) -> float:
        """Deregister a member, as its group does: the ports of its target groups. Seconds."""
        delays = [0.0]
        for target_group in self.of(group):
            own = [
                target
                for target in target_group.targets
                if (target.id, target.port) == (instance_id, target_group.port)
            ]
            self._drain(target_group, own)
            delays += [target_group.delay_s for _ in own]
        return max(delays)

    def of(self, group: Group) -> list[TargetGroup]:
        known = self.core.world.target_groups
        return [known[arn] for arn in group.target_groups if arn in known]

    def _drain(self, group: TargetGroup, targets: Iterable[Target]) -> None:
        for target in targets:
            if target.draining_until is None:
                target.draining_until = self.core.now + group.delay_s
                self.core.after(group.delay_s, self._remove(group, target))

    @staticmethod
    def _remove(group: TargetGroup, target: Target) -> Callable[[], None]:
        def remove() -> None:
            group.targets = [kept for kept in group.targets if kept is not target]

        return remove

    def _check_running(self, instance_id: str) -> None:
        instance = self.core.world.instances.get(instance_id)
        if instance is None:
            raise AwsError("InvalidTarget", f"The instance ID '{instance_id}' is not valid")
        if instance.state != "running":
            message = f"The target '{instance.id}' is not in a running state"
            raise AwsError("InvalidTarget", f"{message} and cannot be registered")

    def _behind(self, target: Target) -> Instance | None:
        """The instance that is the target, or has its address."""
        instances = self.core.world.instances
        by_address = (each for each in instances.values() if each.address == target.id)
        return instances.get(target.id) or next(by_address, None)

    def _group(self, request: Mapping[str, Any]) -> TargetGroup:
        arn = request["TargetGroupArn"]
        if arn not in self.core.world.target_groups:
            raise AwsError("TargetGroupNotFound", f"Target groups '{arn}' not found")
        return self.core.world.target_groups[arn]

    def _rule(self, arn: str) -> list[dict[str, Any]]:
        if arn not in self.core.world.rules:
            raise AwsError("RuleNotFound", f"Rule '{arn}' not found")
        return self.core.world.rules[arn]
