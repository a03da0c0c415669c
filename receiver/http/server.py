"""The options of uvicorn."""

import ssl
from typing import Any

from receiver.settings import Settings


class TlsError(Exception):
    """A TLS setting cannot be used; the text names the setting."""


def options(settings: Settings) -> dict[str, Any]:
    """The keyword arguments of `uvicorn.run`. Raises TlsError."""
    return {
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
    """Load the files, as uvicorn will: its own failure would be a stack trace."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_cert_file or "", settings.tls_key_file)
        if settings.tls_client_ca_file is not None:
            names = "SMARTCLOUDOPS_TLS_CLIENT_CA_FILE"
            context.load_verify_locations(settings.tls_client_ca_file)
    except OSError as error:
        raise TlsError(f"{names}: {error.strerror or type(error).__name__}") from None
