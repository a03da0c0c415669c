"""The AWS clients that all other modules use; this module does not load boto3."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from actions.aws.tags import OPT_IN_TAG

if TYPE_CHECKING:
    from types_boto3_autoscaling import AutoScalingClient
    from types_boto3_cloudtrail import CloudTrailClient
    from types_boto3_ec2 import EC2Client
    from types_boto3_elbv2 import ElasticLoadBalancingv2Client
    from types_boto3_s3 import S3Client
    from types_boto3_sns import SNSClient
    from types_boto3_ssm import SSMClient

_run: ContextVar[str] = ContextVar("run", default="")


@dataclass(frozen=True, kw_only=True)
class Aws:
    """Clients made once at start-up, and the tag that opts in what they may change.

    Clients named `_once` make exactly one attempt. The other clients repeat a call after a read
    time-out; a repeated call could reboot the host twice.
    """

    ec2: "EC2Client"
    ec2_once: "EC2Client"
    autoscaling: "AutoScalingClient"
    autoscaling_once: "AutoScalingClient"
    elbv2: "ElasticLoadBalancingv2Client"
    ssm: "SSMClient"
    ssm_once: "SSMClient"
    sns: "SNSClient"
    cloudtrail: "CloudTrailClient"
    # types-boto3 has no stubs of it among the extras that the project uses.
    arc_zonal_shift: Any
    s3: "S3Client"

    # No field: every field is a client.
    opt_in_tag = OPT_IN_TAG

    @classmethod
    def names(cls) -> Sequence[str]:
        """The names of the clients."""
        return [field.name for field in fields(cls)]


@contextmanager
def on_behalf_of(run_id: str) -> Iterator[None]:
    """Name the run in the user agent of every call made inside, so that CloudTrail shows it."""
    token = _run.set(run_id)
    try:
        yield
    finally:
        _run.reset(token)


def add_run_to_user_agent(request: Any, **_: object) -> None:
    """Handler of botocore's `request-created`: puts the run into the user agent."""
    if run_id := _run.get():
        agent = request.headers.get("User-Agent", "")
        del request.headers["User-Agent"]
        request.headers["User-Agent"] = f"{agent} smartcloudops-run/{run_id}"
