"""Groups and their members in the words of Auto Scaling's API.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_AutoScalingGroup.html
"""

from typing import Any

from demo.aws.core import moment
from demo.aws.world import Group, Member, World


def described(world: World, group: Group) -> dict[str, Any]:
    """The group as DescribeAutoScalingGroups tells it."""
    arn = f"arn:aws:autoscaling:{world.region}:{world.account}"
    return {
        "AutoScalingGroupName": group.name,
        "AutoScalingGroupARN": f"{arn}:autoScalingGroup:0:autoScalingGroupName/{group.name}",
        "MinSize": group.minimum,
        "MaxSize": group.maximum,
        "DesiredCapacity": group.desired,
        "DefaultCooldown": 300,
        "AvailabilityZones": list(group.zones),
        "HealthCheckType": group.checks,
        "HealthCheckGracePeriod": int(group.grace_s),
        "CreatedTime": moment(0),
        "TargetGroupARNs": list(group.target_groups),
        "LoadBalancerNames": list(group.classic),
        "TrafficSources": [
            {"Identifier": name, "Type": kind}
            for kind, names in (
                ("elbv2", group.target_groups),
                ("elb", group.classic),
                ("vpc-lattice", group.lattice),
            )
            for name in names
        ],
        "SuspendedProcesses": [
            {"ProcessName": name, "SuspensionReason": "User suspended"}
            for name in sorted(group.suspended)
        ],
        "Tags": [
            {"Key": key, "Value": value, "ResourceId": group.name, "PropagateAtLaunch": True}
            for key, value in group.tags.items()
        ],
        "Instances": [_member(member) for member in group.members.values()],
        **_launched_from(group),
        **_warm_pool(group),
        **({"InstanceMaintenancePolicy": dict(group.upkeep)} if group.upkeep else {}),
        **({"Status": group.status} if group.status else {}),
    }


def _launched_from(group: Group) -> dict[str, Any]:
    template = {"LaunchTemplateId": group.template, "Version": group.version}
    if not group.mixed:
        return {"LaunchTemplate": template}
    return {"MixedInstancesPolicy": {"LaunchTemplate": {"LaunchTemplateSpecification": template}}}


def _warm_pool(group: Group) -> dict[str, Any]:
    if group.warm is None:
        return {}
    reuse = {"ReuseOnScaleIn": group.reuses}
    pool = {"MinSize": 0, "PoolState": "Stopped", "InstanceReusePolicy": reuse}
    return {"WarmPoolConfiguration": pool, "WarmPoolSize": len(group.warm)}


def _member(member: Member) -> dict[str, Any]:
    return {
        "InstanceId": member.id,
        "AvailabilityZone": member.az,
        "LifecycleState": member.lifecycle,
        "HealthStatus": member.health,
        "ProtectedFromScaleIn": member.protected,
        "LaunchTemplate": {
            "LaunchTemplateId": member.template,
            "Version": member.version,
        },
        **({"WeightedCapacity": str(member.weight)} if member.weight else {}),
    }
