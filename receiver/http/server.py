"""Builds the options of uvicorn."""

import asyncio
import resource
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, cast

import structlog
import uvicorn

from receiver.http.connections import Connections
from receiver.http.handshake import Handshake
from receiver.http.protocol import BoundedProtocol
from receiver.settings import Settings

_log = structlog.get_logger()
# Open files besides client connections: databases, AWS, Prometheus, the log.
_OTHER_FILES = 256


class TlsError(Exception):
    """A TLS setting cannot be used; the text names the setting."""


def raise_file_limit() -> None:
    """Raise this process' limit of open files to its hard limit; systemd's soft limit is 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # With an unlimited hard limit the kernel's own maximum applies.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def options(settings: Settings, count: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """The keyword arguments of `uvicorn.Config`. Raises TlsError.

    `count` is called with the reason of each connection that is refused.
    """
    connections = Connections(_connections_max(settings), count=count)
    return {
        "http": partial(BoundedProtocol, connections=connections),
        "ws": "none",
        "host": settings.host,
        "port": settings.port,
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "timeout_graceful_shutdown": 10,
        "proxy_headers": bool(settings.trusted_proxies),
        "forwarded_allow_ips": settings.trusted_proxies,
        **_tls(settings),
    }


def make_server(config: uvicorn.Config) -> tuple[uvicorn.Server, list[socket.socket] | None]:
    """A server, and the sockets to run it with; its TLS handshakes are bounded.

    `config` has the options of `options`. With TLS the port is bound here, for its address to be
    logged as https.
    """
    sockets = [config.bind_socket()] if config.is_ssl else None
    config.load()
    if config.ssl is not None:
        http = cast("partial[BoundedProtocol]", config.http_protocol_class)
        handshake = partial(Handshake, context=config.ssl, **http.keywords)
        config.http_protocol_class = cast("type[asyncio.Protocol]", handshake)
        # Without it uvicorn would do the handshakes.
        config.ssl = None
    return uvicorn.Server(config), sockets


def _connections_max(settings: Settings) -> int:
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = settings.max_connections
    if files == resource.RLIM_INFINITY or files - _OTHER_FILES >= most:
        return most
    fewer = max(1, files - _OTHER_FILES)
    _log.warning(
        "connection_limit_lowered", limit=fewer, open_files_limit=files, max_connections=most
    )
    return fewer


def _tls(settings: Settings) -> dict[str, Any]:
    cert, key, ca = settings.tls_cert_file, settings.tls_key_file, settings.tls_client_ca_file
    if cert is None and key is None and ca is None:
        return {}
    if cert is None or key is None:
        raise TlsError("SMARTCLOUDOPS_TLS_CERT_FILE and _TLS_KEY_FILE must both be set")
    _check_files("SMARTCLOUDOPS_TLS_CERT_FILE, _TLS_KEY_FILE", settings)
    tls: dict[str, Any] = {"ssl_certfile": cert, "ssl_keyfile": key}
    if ca is not None:
        tls |= {"ssl_ca_certs": ca, "ssl_cert_reqs": ssl.CERT_REQUIRED}
    return tls


def _check_files(names: str, settings: Settings) -> None:
    """Load the files as uvicorn does, to report an error as a line instead of a stack trace."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_cert_file or "", settings.tls_key_file)
        if settings.tls_client_ca_file is not None:
            names = "SMARTCLOUDOPS_TLS_CLIENT_CA_FILE"
            context.load_verify_locations(settings.tls_client_ca_file)
    except OSError as error:
        raise TlsError(f"{names}: {error.strerror or type(error).__name__}") from None
