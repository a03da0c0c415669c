"""The AWS clients: the only module that builds them."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

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
    """Clients made once at start-up.

    Those named `_once` make exactly one attempt: botocore repeats a call after a read time-out,
    which reboots a host twice.
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
    s3: "S3Client"


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


def connect(*, pool: int = 16, connect_timeout: float = 3, read_timeout: float = 10) -> Aws:
    """Clients from the environment, as every boto3 program takes it (AWS_ENDPOINT_URL included)."""
    session = boto3.Session()
    shared = Config(
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        max_pool_connections=pool,
        user_agent_extra="smartcloudops",
        retries={"mode": "standard", "total_max_attempts": 3},
    )
    once = shared.merge(Config(retries={"mode": "standard", "total_max_attempts": 1}))
    session.events.register("request-created", add_run_to_user_agent)
    return Aws(
        ec2=session.client("ec2", config=shared),
        ec2_once=session.client("ec2", config=once),
        autoscaling=session.client("autoscaling", config=shared),
        autoscaling_once=session.client("autoscaling", config=once),
        elbv2=session.client("elbv2", config=shared),
        ssm=session.client("ssm", config=shared),
        ssm_once=session.client("ssm", config=once),
        sns=session.client("sns", config=shared),
        cloudtrail=session.client("cloudtrail", config=shared),
        s3=session.client("s3", config=shared),
    )


def connect_identity(*, timeout: float = 5) -> tuple[Any, Any]:
    """Clients of STS and IAM, for questions about the caller itself."""
    session = boto3.Session()
    config = Config(connect_timeout=timeout, read_timeout=timeout)
    return session.client("sts", config=config), session.client("iam", config=config)


# The errors that a call to AWS may raise.
AWS_ERRORS = (BotoCoreError, ClientError)
