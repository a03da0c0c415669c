"""How to log in to a server, in the words of Prometheus' configuration.

https://prometheus.io/docs/prometheus/latest/configuration/configuration/#http_config
https://prometheus.io/docs/prometheus/latest/configuration/configuration/#remote_write (`sigv4`)
"""

import ssl
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr, model_validator


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def secrets(self) -> Iterator[str]:
        """The secrets that the file itself has, at any depth."""
        for name in type(self).model_fields:
            yield from _secrets(getattr(self, name))


def _secrets(value: object) -> Iterator[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, _Part):
        yield from value.secrets()
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _secrets(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _secrets(item)


class BasicAuth(_Part):
    """Basic authentication; a file is read again for each request."""

    username: str = ""
    username_file: Path | None = None
    password: SecretStr | None = None
    password_file: Path | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> "BasicAuth":
        if bool(self.username) == bool(self.username_file):
            raise ValueError("write username or username_file")
        if self.password and self.password_file:
            raise ValueError("write password or password_file")
        return self


class Authorization(_Part):
    """The header `Authorization`; a file is read again for each request."""

    type: str = "Bearer"
    credentials: SecretStr | None = None
    credentials_file: Path | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> "Authorization":
        if bool(self.credentials) == bool(self.credentials_file):
            raise ValueError("write credentials or credentials_file")
        return self


class Header(_Part):
    """The values of a header; a file is read again for each request."""

    values: Sequence[str] = ()
    secrets_: Annotated[Sequence[SecretStr], Field(alias="secrets")] = ()
    files: Sequence[Path] = ()


class TlsConfig(_Part):
    """Whom to trust, and who we are."""

    ca: str = ""
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    server_name: str = ""

    @model_validator(mode="after")
    def _whole(self) -> "TlsConfig":
        if bool(self.cert_file) != bool(self.key_file):
            raise ValueError("cert_file and key_file need each other")
        return self

    def context(self) -> ssl.SSLContext:
        """Raises OSError or ssl.SSLError."""
        context = ssl.create_default_context(cafile=self.ca_file, cadata=self.ca or None)
        if self.cert_file is not None:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context


class HttpConfig(_Part):
    """The parts of Prometheus' `http_config` that a client of queries needs."""

    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    http_headers: Mapping[str, Header] = {}
    tls_config: TlsConfig = TlsConfig()
    proxy_url: HttpUrl | None = None
    no_proxy: str = ""
    proxy_from_environment: bool = False

    @model_validator(mode="after")
    def _one_login(self) -> "HttpConfig":
        if self.basic_auth and self.authorization:
            raise ValueError("write basic_auth or authorization")
        if self.proxy_from_environment and (self.proxy_url or self.no_proxy):
            raise ValueError("write proxy_from_environment, or proxy_url and no_proxy")
        return self


class SigV4(_Part):
    """AWS Signature Version 4, for Amazon Managed Service for Prometheus; empty by boto3."""

    region: str | None = None
    access_key: str | None = None
    secret_key: SecretStr | None = None
    profile: str | None = None
    role_arn: str | None = None
    # The service that is signed for.
    service: Literal["aps"] = "aps"

    @model_validator(mode="after")
    def _whole_key(self) -> "SigV4":
        if bool(self.access_key) != bool(self.secret_key):
            raise ValueError("access_key and secret_key need each other")
        return self
