"""Builds the AWS clients: the only module that does."""

from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from actions.aws.client_set import Aws, add_run_to_user_agent


def connect(*, pool: int = 16) -> Aws:
    """Clients by boto3's environment variables, such as AWS_ENDPOINT_URL."""
    session = boto3.Session()
    shared = Config(
        connect_timeout=3,
        read_timeout=10,
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
        arc_zonal_shift=session.client("arc-zonal-shift", config=shared),
        s3=session.client("s3", config=shared),
    )


def connect_identity() -> tuple[Any, Any]:
    """Clients of STS and IAM, which describe the caller itself."""
    session = boto3.Session()
    config = Config(connect_timeout=5, read_timeout=5)
    return session.client("sts", config=config), session.client("iam", config=config)


def confirm_subscription(topic: str, token: str) -> str:
    """Confirm a subscription to a topic (its ARN), in the topic's region. Returns its ARN.

    The token is the whole proof: the call is unsigned, and needs no permission.
    """
    config = Config(connect_timeout=5, read_timeout=10, signature_version=UNSIGNED)
    sns = boto3.Session().client("sns", region_name=topic.split(":")[3], config=config)
    return str(sns.confirm_subscription(TopicArn=topic, Token=token)["SubscriptionArn"])


# The errors that a call to AWS may raise.
AWS_ERRORS = (BotoCoreError, ClientError)
