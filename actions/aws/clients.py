"""Builds the AWS clients: the only module that does."""

import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, cast

import boto3
import botocore
from botocore import UNSIGNED
from botocore.config import Config
from botocore.session import Session

from actions.aws.account_access import (
    AccountAccess,
    OneSource,
    UnknownPlaceError,
    credentials_for,
)
from actions.aws.call_budgets import SERVICES, CallBudgets
from actions.aws.client_set import Aws, add_run_to_user_agent
from actions.aws.service_models import new_session
from actions.place import HOME, Place


def connect(*, pool: int = 16) -> Aws:
    """Clients by boto3's environment variables, such as AWS_ENDPOINT_URL."""
    make = _makers(new_session(), pool)
    return Aws(**{name: create() for name, create in make.items()})


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
            own, session = new_session(), new_session()
            credentials = credentials_for(access, own, own_region() or place.region)
            session.register_component("credential_provider", OneSource(credentials))
            self._sessions[place.account] = session
        of_account = self._sessions[place.account]
        make = _makers(of_account, self._pool, region=place.region)
        shared = {"sns": self._own.sns, "s3": self._own.s3, "opt_in_tag": access.opt_in_tag}
        return cast("Aws", _LazyClients(make, self._lock, **shared))


class _LazyClients:
    """As `Aws`, but that each client is made when it is first needed: few places are acted in.

    `lock` is of all clients of a session, which makes only one at a time.
    """

    def __init__(
        self, make: Mapping[str, Callable[[], Any]], lock: threading.Lock, **made: Any
    ) -> None:
        self._make, self._lock = make, lock
        vars(self).update(made)

    def __getattr__(self, name: str) -> Any:
        """Called for what is not there yet. Raises AttributeError."""
        if name not in self._make:
            raise AttributeError(name)
        with self._lock:
            return vars(self).get(name) or vars(self).setdefault(name, self._make[name]())


def _makers(
    session: Session, pool: int, region: str | None = None
) -> Mapping[str, Callable[[], Any]]:
    """What makes each client of `Aws`."""
    shared = Config(
        connect_timeout=3,
        read_timeout=10,
        max_pool_connections=pool,
        # Given, because botocore builds its own, of the machine and its settings, twice a call.
        user_agent=f"Botocore/{botocore.__version__}",
        user_agent_extra="smartcloudops",
        retries={"mode": "standard", "total_max_attempts": 3},
    )
    once = shared.merge(Config(retries={"mode": "standard", "total_max_attempts": 1}))
    handler: Any = add_run_to_user_agent
    # Once for all places of an account.
    session.register("request-created", handler, unique_id="run")
    budgets = CallBudgets()

    def make(field: str) -> Any:
        service = field.removesuffix("_once")
        config = shared if service == field else once
        client: Any = session.create_client(service.replace("_", "-"), region, config=config)
        if service in SERVICES:
            client.meta.events.register("before-send", budgets)
        return client

    return {name: partial(make, name) for name in Aws.names()}


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
