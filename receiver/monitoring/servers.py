"""The servers of `SMARTCLOUDOPS_PROMETHEUS_FILE` and `SMARTCLOUDOPS_ALERTMANAGER_FILE`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import httpx
from pydantic import (
    BaseModel,
    ConfigDict,
    HttpUrl,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from receiver.monitoring.http_config import HttpConfig, SigV4
from receiver.monitoring.login import Login, signer_of
from receiver.playbooks.field_types import AlertMatcher
from receiver.playbooks.loader import Finding, InvalidFilesError, findings
from receiver.playbooks.yaml_source import YamlError, read_list


class InvalidServersError(InvalidFilesError):
    """The file cannot be used; the findings have no secret."""


class Server(BaseModel):
    """A server: where it is, how to log in, and which alerts it knows; without `match`, all."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True
    )

    url: HttpUrl
    match: Sequence[AlertMatcher] = ()
    http_config: HttpConfig = HttpConfig()
    sigv4: SigV4 | None = None

    @model_validator(mode="after")
    def _one_login(self) -> "Server":
        config = self.http_config
        if self.sigv4 and (config.basic_auth or config.authorization):
            raise ValueError("write sigv4, basic_auth or authorization")
        return self

    def knows(self, labels: Mapping[str, str]) -> bool:
        """Whether the alert's labels fit `match`."""
        return all(matcher.matches(labels) for matcher in self.match)

    def client(self) -> httpx.Client:
        """A client that logs in. Raises OSError for an unusable TLS file."""
        config = self.http_config
        proxy = str(config.proxy_url) if config.proxy_url else None
        direct = filter(None, map(str.strip, config.no_proxy.split(",")))
        login = Login(config, signer_of(self.sigv4) if self.sigv4 else None)
        return httpx.Client(
            # httpx takes a login from the URL only where there is no other.
            auth=login if self.logs_in else None,
            verify=config.tls_config.context(),
            proxy=proxy,
            mounts={f"all://{host}": None for host in direct} if proxy else None,
            trust_env=config.proxy_from_environment,
        )

    @property
    def logs_in(self) -> bool:
        config = self.http_config
        named = config.tls_config.server_name
        return bool(
            self.sigv4 or config.basic_auth or config.authorization or config.http_headers or named
        )

    def secrets(self) -> Sequence[str]:
        """The secrets that the file has, for the log to redact."""
        password = [self.url.password] if self.url.password else []
        parts = (self.http_config, self.sigv4)
        return [*password, *(text for part in parts if part for text in part.secrets())]


_SERVERS: TypeAdapter[list[Server]] = TypeAdapter(list[Server])


def load(file: Path | None, url: HttpUrl) -> Sequence[Server]:
    """The servers of the file in its order; without a file, the one at `url`.

    Raises InvalidServersError with every fault.
    """
    if file is None:
        return [Server(url=url)]
    try:
        value, lines = read_list(file)
    except YamlError as error:
        fault = Finding(file=file, line=error.line, message=error.message)
        raise InvalidServersError([fault]) from None
    try:
        servers = _SERVERS.validate_python(value)
    except ValidationError as error:
        raise InvalidServersError(list(findings(file, lines, (), error))) from None
    faults = [_fault(file, lines.of((number,)), server) for number, server in enumerate(servers)]
    if not servers or servers[-1].match:
        line = lines.of((len(servers) - 1,)) if servers else 1
        message = "the last server must have no match: it is asked about all other alerts"
        faults.append(Finding(file=file, line=line, message=message))
    if found := [fault for fault in faults if fault is not None]:
        raise InvalidServersError(found)
    return servers


def _fault(file: Path, line: int, server: Server) -> Finding | None:
    """Why the server's TLS files cannot be used, if so."""
    try:
        server.http_config.tls_config.context()
    except OSError as error:
        reason = f"tls_config: {error.strerror or type(error).__name__}"
        return Finding(file=file, line=line, message=reason)
    return None
