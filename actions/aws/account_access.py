"""Credentials for other accounts: a role is assumed, and its account proven, before each use.

A refreshed session is proven, too. https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
from botocore.exceptions import BotoCoreError
from botocore.session import Session

from actions.aws.tags import OPT_IN_TAG

_CONFIG = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 2})
# A role that was assumed by another role lasts an hour at most:
# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html#iam-term-role-chaining
_LASTS_S = 3600


class WrongAccountError(BotoCoreError):
    """Credentials are of another account than the file of accounts says: nothing was sent."""

    fmt = "the credentials for account {expected} are of account {found}"


class UnknownPlaceError(BotoCoreError):
    """No account and region of the file of accounts: nothing was sent."""

    fmt = "{place} is not in the file of accounts"


@dataclass(frozen=True, kw_only=True)
class AccountAccess:
    """How an account is reached: by a role, or with None by the service's own credentials.

    `opt_in_tag` is the tag that opts in there.
    """

    account: str
    role_arn: str | None = None
    external_id: str | None = field(default=None, repr=False)
    opt_in_tag: str = OPT_IN_TAG


@dataclass(frozen=True)
class OneSource:
    """botocore's component that finds credentials: these, and no others."""

    credentials: Any

    def load_credentials(self) -> Any:
        return self.credentials


def credentials_for(access: AccountAccess, own: Session, region: str) -> Any:
    """The account's credentials, which `own` credentials get from STS in this region."""
    source = own.get_credentials()

    def identity(key: Mapping[str, Any]) -> str:
        sts: Any = own.create_client(
            "sts",
            region_name=region,
            aws_access_key_id=key["access_key"],
            aws_secret_access_key=key["secret_key"],
            aws_session_token=key["token"],
            config=_CONFIG,
        )
        return str(sts.get_caller_identity()["Account"])

    if access.role_arn is None:
        return ProvenCredentials(source, access.account, identity)
    assumed = {"RoleSessionName": "smartcloudops", "DurationSeconds": _LASTS_S}
    if access.external_id is not None:
        assumed["ExternalId"] = access.external_id
    fetcher = AssumeRoleCredentialFetcher(
        lambda service, **keys: own.create_client(
            service, region_name=region, config=_CONFIG, **keys
        ),
        source,
        access.role_arn,
        extra_args=assumed,
    )

    def refresh() -> Mapping[str, Any]:
        fetched: Mapping[str, Any] = fetcher.fetch_credentials()
        _require_account(access.account, identity(fetched))
        return fetched

    return DeferredRefreshableCredentials(refresh_using=refresh, method="assume-role")


@dataclass
class ProvenCredentials:
    """The service's own credentials, used only once STS has named their account.

    Whatever refreshes them, new ones are proven, too.
    """

    source: Any
    account: str
    identity: Callable[[Mapping[str, Any]], str]
    _proven: object = field(default=None, init=False)
    _lock: Any = field(default_factory=threading.Lock, init=False)

    def get_deferred_property(self, name: str) -> Callable[[], Any]:
        """As botocore's credentials have it."""
        return lambda: getattr(self.get_frozen_credentials(), name, None)

    def get_frozen_credentials(self) -> Any:
        """Raises WrongAccountError, and botocore's errors."""
        if self.source is None:
            return None
        frozen = self.source.get_frozen_credentials()
        with self._lock:
            if frozen != self._proven:
                _require_account(self.account, self.identity(frozen._asdict()))
                self._proven = frozen
        return frozen


def _require_account(expected: str, found: str) -> None:
    if found != expected:
        raise WrongAccountError(expected=expected, found=found)
