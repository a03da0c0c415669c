"""Signs HTTP requests by AWS Signature Version 4, for AWS services that speak another API.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    Credentials,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import BotoCoreError, ClientError


class SigningError(Exception):
    """There are no credentials to sign with; the text has no secret."""


@dataclass(frozen=True, kw_only=True)
class Signer:
    """Signs for one service in one region; credentials are refreshed before they expire."""

    service: str
    region: str
    credentials: Credentials

    def sign(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> Mapping[str, str]:
        """The headers to add to a request that has these headers. Raises SigningError."""
        request = AWSRequest(method=method, url=url, headers=dict(headers), data=body)
        try:
            frozen: Any = self.credentials.get_frozen_credentials()
            SigV4Auth(frozen, self.service, self.region).add_auth(request)
        except (BotoCoreError, ClientError) as error:
            raise SigningError(f"AWS gives no credentials: {type(error).__name__}") from error
        return {
            name: value
            for name, value in request.headers.items()
            if name.lower() == "authorization" or name.lower().startswith("x-amz-")
        }


@dataclass(frozen=True, kw_only=True)
class KeySource:
    """Where credentials and region come from; what is None, boto3 looks for as usual."""

    region: str | None = None
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    profile: str | None = None
    role_arn: str | None = None


def make_signer(service: str, source: KeySource) -> Signer:
    """A signer with the credentials of the source or, with its `role_arn`, of that role.

    Raises SigningError without credentials or a region.
    """
    try:
        session = boto3.Session(
            aws_access_key_id=source.access_key,
            aws_secret_access_key=source.secret_key,
            profile_name=source.profile,
            region_name=source.region,
        )
        credentials: Any = session.get_credentials()
    except BotoCoreError as error:
        raise SigningError(str(error)) from None
    if credentials is None or session.region_name is None:
        raise SigningError("boto3 finds no credentials or no region")
    if source.role_arn:
        fetcher = AssumeRoleCredentialFetcher(
            client_creator=session.client,
            source_credentials=credentials,
            role_arn=source.role_arn,
            extra_args={"RoleSessionName": "smartcloudops"},
        )
        credentials = DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")
    return Signer(service=service, region=session.region_name, credentials=credentials)
