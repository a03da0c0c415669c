"""Builds the AWS clients: the only module that does."""

import threading
from collections.abc import Iterable, Mapping
from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from actions.aws.account_access import (
    AccountAccess,
    OneSource,
    UnknownPlaceError,
    credentials_for,
)
from actions.aws.client_set import Aws, add_run_to_user_agent
from actions.place import HOME, Place


def connect(*, pool: int = 16) -> Aws:
    """Clients by boto3's environment variables, such as AWS_ENDPOINT_URL."""
    return _connect(boto3.Session(), pool)


def own_region() -> str:
    """The region of the service's own credentials; empty where none is set."""
    return boto3.Session().region_name or ""


class PlaceClients:
    """The clients of each place, made when they are first needed.

    People are paged, and models and records are kept, by the service's `own` clients everywhere.
    """

    def __init__(self, own: Aws, accesses: Iterable[AccountAccess], *, pool: int = 16) -> None:
        self._own, self._pool = own, pool
        self._accesses: Mapping[str, AccountAccess] = {each.account: each for each in accesses}
        self._sessions: dict[str, Session] = {}
        self._clients: dict[Place, Aws] = {}
        self._lock = threading.Lock()

    def at(self, place: Place) -> Aws:
        """Raises UnknownPlaceError."""
        if place == HOME:
            # Records of the time before the file of accounts.
            return self._own
        with self._lock:
            if place not in self._clients:
                self._clients[place] = self._make(place)
            return self._clients[place]

    def _make(self, place: Place) -> Aws:
        access = self._accesses.get(place.account)
        if access is None:
            raise UnknownPlaceError(place=place)
        if place.account not in self._sessions:
            own, session = Session(), Session()
            credentials = credentials_for(access, own, own_region() or place.region)
            session.register_component("credential_provider", OneSource(credentials))
            self._sessions[place.account] = session
        of_account = self._sessions[place.account]
        there = boto3.Session(botocore_session=of_account, region_name=place.region)
        return _connect(there, self._pool, shared_with=self._own)


def _connect(session: boto3.Session, pool: int, shared_with: Aws | None = None) -> Aws:
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
        sns=shared_with.sns if shared_with else session.client("sns", config=shared),
        cloudtrail=session.client("cloudtrail", config=shared),
        arc_zonal_shift=session.client("arc-zonal-shift", config=shared),
        s3=shared_with.s3 if shared_with else session.client("s3", config=shared),
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
