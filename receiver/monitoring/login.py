"""Adds to each request what its server wants for a login."""

import base64
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
from pydantic import SecretStr

from actions.aws.sigv4 import KeySource, Signer, SigningError, make_signer
from receiver.monitoring.http_config import BasicAuth, Header, HttpConfig, SigV4


class CredentialsError(httpx.RequestError):
    """There is nothing to log in with; the text has no secret."""


@dataclass
class Login(httpx.Auth):
    """The login of an `http_config`; files are read for each request, as secrets are rotated."""

    config: HttpConfig
    sign: Callable[[], Signer] | None = None

    # Read by httpx: a signature covers the body.
    requires_request_body = True

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Raises CredentialsError."""
        if name := self.config.tls_config.server_name:
            request.extensions["sni_hostname"] = name
        for header, values in self.config.http_headers.items():
            request.headers[header] = ", ".join(_values(values))
        if self.config.basic_auth:
            request.headers["Authorization"] = _basic(self.config.basic_auth)
        if authorization := self.config.authorization:
            text = _one(authorization.credentials, authorization.credentials_file)
            request.headers["Authorization"] = f"{authorization.type} {text}"
        if self.sign is not None:
            _sign(request, self.sign)
        yield request


def signer_of(config: SigV4) -> Callable[[], Signer]:
    """Makes the signer at the first request: AWS may give credentials later than the start."""
    made: list[Signer] = []

    def signer() -> Signer:
        if not made:
            secret = config.secret_key.get_secret_value() if config.secret_key else None
            source = KeySource(
                region=config.region,
                access_key=config.access_key,
                secret_key=secret,
                profile=config.profile,
                role_arn=config.role_arn,
            )
            made.append(make_signer(config.service, source))
        return made[0]

    return signer


def _sign(request: httpx.Request, signer: Callable[[], Signer]) -> None:
    # A space is %20 in what is signed; a plus sign itself is %2B already.
    path = request.url.raw_path.replace(b"+", b"%20")
    request.url = request.url.copy_with(raw_path=path)
    content_type = request.headers.get("Content-Type")
    headers: Mapping[str, str] = {"Content-Type": content_type} if content_type else {}
    try:
        signed = signer().sign(request.method, str(request.url), headers, request.content)
    except SigningError as error:
        raise CredentialsError(str(error)) from None
    request.headers.update(signed)


def _basic(basic: BasicAuth) -> str:
    user = basic.username or _one(None, basic.username_file)
    password = _one(basic.password, basic.password_file)
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def _values(header: Header) -> Sequence[str]:
    secrets = [secret.get_secret_value() for secret in header.secrets_]
    return [*header.values, *secrets, *(_one(None, file) for file in header.files)]


def _one(secret: SecretStr | None, file: Path | None) -> str:
    if secret is not None or file is None:
        return secret.get_secret_value() if secret else ""
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise CredentialsError(f"{file} cannot be read: {reason}") from None
