"""Verifies that a message is signed by Amazon SNS.

The certificate is fetched over HTTPS from SNS itself, in the region and partition of the message's
topic, and only from the path where SNS keeps its certificates.
Source: Amazon SNS Developer Guide, Verifying the signatures of Amazon SNS messages; names of
certificates: SnsMessageManager of the AWS SDK for Java.
"""

import base64
import binascii
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.x509.oid import NameOID

from receiver.http.access.rate_limit import RateLimiter
from receiver.http.bounded_read import TooLargeError, TooSlowError, read_bounded
from receiver.runtime.cache import BoundedCache
from receiver.webhook.sns.message import SnsMessage

_PATH = re.compile(r"/SimpleNotificationService-[0-9a-f]{8,64}\.pem")
_COMMON_NAME = re.compile(r"sns(?:[.-][a-z0-9]+)*\.amazonaws\.com(\.cn)?")
_BYTES_MAX, _WHOLE_S = 64 * 1024, 5.0
# New certificates a second, and at once: a forger chooses the names.
_PER_S, _BURST = 0.1, 10.0


class ForgedError(Exception):
    """The message is not signed by SNS; the text has the reason, for the log."""


class CertificateError(Exception):
    """The certificate cannot be fetched now; SNS delivers the message again."""


@dataclass(kw_only=True)
class SnsSignatures:
    """Verifies messages; thread-safe. A certificate is fetched once, and then remembered."""

    client: httpx.Client
    clock: Callable[[], float] = time.time
    _keys: BoundedCache[str, x509.Certificate] = field(default_factory=BoundedCache, init=False)
    _limiter: RateLimiter = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        self._limiter = RateLimiter(per_s=_PER_S, burst=_BURST, clock=time.monotonic)

    def verify(self, message: SnsMessage) -> None:
        """Raises ForgedError or CertificateError."""
        algorithm = _algorithm(message.version)
        url = httpx.URL(_checked_url(message))
        certificate = self._certificate(str(url))
        _check_certificate(certificate, self.clock())
        key = certificate.public_key()
        if not isinstance(key, RSAPublicKey):
            raise ForgedError("the certificate has no RSA key")
        try:
            signature = base64.b64decode(message.signature, validate=True)
            key.verify(signature, message.signed_text(), PKCS1v15(), algorithm)
        except (binascii.Error, ValueError, InvalidSignature):
            raise ForgedError("the signature is wrong") from None

    def _certificate(self, url: str) -> x509.Certificate:
        with self._lock:
            known = self._keys.get(url)
            if known is not None:
                return known
            if self._limiter.wait_s("sns"):
                raise CertificateError("too many certificates are asked for")
            self._keys[url] = certificate = self._fetch(url)
            return certificate

    def _fetch(self, url: str) -> x509.Certificate:
        try:
            with self.client.stream("GET", url, follow_redirects=False, timeout=_WHOLE_S) as answer:
                until = time.monotonic() + _WHOLE_S
                content = read_bounded(answer, max_bytes=_BYTES_MAX, deadline=until)
        except (httpx.HTTPError, TooLargeError, TooSlowError) as error:
            raise CertificateError(f"SNS's certificate: {type(error).__name__}") from None
        if answer.status_code in (httpx.codes.NOT_FOUND, httpx.codes.FORBIDDEN):
            raise ForgedError("SNS has no such certificate")
        if not answer.is_success:
            raise CertificateError(f"SNS's certificate: status {answer.status_code}")
        try:
            return x509.load_pem_x509_certificate(content)
        except ValueError:
            raise CertificateError("SNS's certificate is unreadable") from None


def _algorithm(version: str) -> HashAlgorithm:
    match version:
        case "1":
            return SHA1()  # noqa: S303 what SNS signs with unless the topic says 2
        case "2":
            return SHA256()
    raise ForgedError("the signature's version is neither 1 nor 2")


def _checked_url(message: SnsMessage) -> str:
    url = message.certificate_url
    origin = f"https://{message.host}"
    if not url.startswith(f"{origin}/") or not _PATH.fullmatch(url.removeprefix(origin)):
        raise ForgedError(f"the certificate is not at {origin}/SimpleNotificationService-….pem")
    return url


def _check_certificate(certificate: x509.Certificate, now: float) -> None:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if not any(_COMMON_NAME.fullmatch(str(name.value)) for name in names):
        raise ForgedError("the certificate is not of SNS")
    at = datetime.fromtimestamp(now, UTC)
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise ForgedError("the certificate is not valid now")
