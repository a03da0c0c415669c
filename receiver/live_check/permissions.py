"""Which of the reads that every decision makes the role may not make, by making them once."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from actions.aws.causes import Cause
from actions.aws.client_set import Aws
from actions.aws.errors import AWS_ERRORS, classify

# IAM answers before AWS looks whether they exist.
_INSTANCE, _GROUP = "i-00000000000000000", "smartcloudops-check"
_TARGETS = "arn:aws:elasticloadbalancing:us-east-1:000000000000:targetgroup/none/0000000000000000"


def reads(aws: Aws, *, trail: bool) -> Mapping[str, Callable[[], Any]]:
    """The reads, by permission."""
    calls: dict[str, Callable[[], Any]] = {
        "autoscaling:DescribeAutoScalingGroups": lambda: (
            aws.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[_GROUP])
        ),
        "autoscaling:DescribeInstanceRefreshes": lambda: (
            aws.autoscaling.describe_instance_refreshes(AutoScalingGroupName=_GROUP)
        ),
        "ec2:DescribeInstanceAttribute": lambda: aws.ec2.describe_instance_attribute(
            InstanceId=_INSTANCE, Attribute="disableApiTermination"
        ),
        "ec2:DescribeInstanceStatus": lambda: aws.ec2.describe_instance_status(
            InstanceIds=[_INSTANCE]
        ),
        "ec2:DescribeInstances": lambda: aws.ec2.describe_instances(InstanceIds=[_INSTANCE]),
        "ec2:DescribeSpotInstanceRequests": lambda: aws.ec2.describe_spot_instance_requests(
            Filters=[{"Name": "instance-id", "Values": [_INSTANCE]}]
        ),
        "ec2:DescribeVolumeStatus": lambda: aws.ec2.describe_volume_status(
            Filters=[{"Name": "volume-status.status", "Values": ["impaired"]}]
        ),
        "ec2:DescribeVolumes": lambda: aws.ec2.describe_volumes(
            Filters=[{"Name": "attachment.instance-id", "Values": [_INSTANCE]}]
        ),
        "elasticloadbalancing:DescribeTargetHealth": lambda: aws.elbv2.describe_target_health(
            TargetGroupArn=_TARGETS
        ),
        "ssm:DescribeSessions": lambda: aws.ssm.describe_sessions(State="Active"),
        "ssm:ListCommandInvocations": lambda: aws.ssm.list_command_invocations(
            InstanceId=_INSTANCE
        ),
    }
    if trail:
        calls["cloudtrail:LookupEvents"] = lambda: aws.cloudtrail.lookup_events(
            LookupAttributes=[{"AttributeKey": "ResourceName", "AttributeValue": _INSTANCE}],
            MaxResults=1,
        )
    return calls


def find_denied(aws: Aws, *, trail: bool) -> Iterator[str]:
    """A line for each read that is denied, or that has no answer."""
    for permission, call in reads(aws, trail=trail).items():
        try:
            call()
        except AWS_ERRORS as error:
            failure = classify(error)
            if failure.cause is Cause.ACCESS:
                yield f"the role may not {permission}: {failure.name}"
            elif failure.cause in (Cause.PASSING, Cause.CLOCK):
                yield f"AWS does not answer {permission}: {failure.name}"
