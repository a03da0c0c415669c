"""The identity provider: where it is to be asked, and the keys that it signs with.

https://openid.net/specs/openid-connect-discovery-1_0.html
"""

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import httpx
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, Key, OKPKey, RSAKey
from pydantic import BaseModel, StringConstraints, ValidationError

from receiver.http.access.auth import ProviderUnavailableError
from receiver.http.bounded_read import TooLargeError, TooSlowError, read_bounded

_log = structlog.get_logger()
# What the provider publishes is read again after this time: a withdrawn key counts no longer.
FRESH_S = 600.0
# While the provider does not answer, its last keys count for this long.
KEPT_S = 3600.0
# The least time between two readings: a flood of invented key names asks the provider no more
# often.
RETRY_S = 10.0
_TIMEOUT_S, _ANSWER_MAX = 5.0, 1024 * 1024
_RSA_BITS_LEAST = 2048
_KEYS_MOST = 100
_Url = Annotated[
    str, StringConstraints(pattern=r"^(https://|http://(127\.0\.0\.1|\[::1\]|localhost)[:/])")
]


class AnswerError(ProviderUnavailableError):
    """The provider's answer cannot be used; the text has no part of it. `status` is of HTTP."""

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(f"the identity provider failed: {reason}")
        self.status = status


class Metadata(BaseModel):
    """What is used of the provider's discovery document; addresses have TLS, or are loopback."""

    issuer: str
    authorization_endpoint: _Url
    token_endpoint: _Url
    jwks_uri: _Url
    token_endpoint_auth_methods_supported: Sequence[str] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


@dataclass(frozen=True, kw_only=True)
class Published:
    """The provider's document and keys, as of `read_at`, in monotonic seconds."""

    metadata: Metadata
    keys: Sequence[Key]
    read_at: float

    def key(self, kid: str | None) -> Key | None:
        """The key of this name; without a name, the only key."""
        named = [key for key in self.keys if kid is None or key.kid == kid]
        return named[0] if len(named) == 1 else None


@dataclass(kw_only=True)
class Provider:
    """Asks the `issuer`. `monotonic` gives seconds of a clock that is never set."""

    issuer: str
    client: httpx.Client
    monotonic: Callable[[], float] = time.monotonic
    _published: Published | None = field(default=None, init=False)
    _tried_at: float | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def published(self) -> Published:
        """Raises ProviderUnavailableError where nothing is known, or only what is too old."""
        known = self._published
        if known is None or not self._is_fresh(known):
            # Whoever has what still counts does not wait for the one who asks.
            self._refresh(wait=known is None or not self._counts(known))
        return self._known()

    def key(self, kid: str | None) -> Key | None:
        """The key of this name; an unknown name is asked for. Raises ProviderUnavailableError."""
        known = self.published()
        found = known.key(kid)
        if found is None:
            self._refresh(wait=True, unless=known)
            found = self._known().key(kid)
        return found

    def _known(self) -> Published:
        known = self._published
        if known is None or not self._counts(known):
            raise ProviderUnavailableError(
                "the identity provider does not answer, so its people are refused; "
                "a break-glass token lets people in"
            )
        return known

    def _is_fresh(self, known: Published) -> bool:
        return self.monotonic() - known.read_at < FRESH_S

    def _counts(self, known: Published) -> bool:
        return self.monotonic() - known.read_at < KEPT_S

    def _refresh(self, *, wait: bool, unless: Published | None = None) -> None:
        """Ask the provider, unless somebody else just did, or has since `unless`."""
        before = self._published
        if not self._lock.acquire(blocking=wait):
            return
        try:
            changed = self._published is not (before if unless is None else unless)
            now = self.monotonic()
            recent = self._tried_at is not None and now - self._tried_at < RETRY_S
            if changed or recent:
                return
            self._tried_at = now
            self._published = self._read(now)
        except AnswerError as error:
            _log.error("oidc_provider_failed", issuer=self.issuer, reason=str(error))
        finally:
            self._lock.release()

    def _read(self, now: float) -> Published:
        address = f"{self.issuer.rstrip('/')}/.well-known/openid-configuration"
        try:
            metadata = Metadata.model_validate(self.fetch("GET", address))
        except ValidationError as error:
            where = ".".join(map(str, error.errors(include_input=False)[0]["loc"]))
            raise AnswerError(f"the discovery document has no usable {where}") from None
        if metadata.issuer != self.issuer:
            raise AnswerError("the discovery document names another issuer")
        keys = _import_keys(self.fetch("GET", metadata.jwks_uri))
        if not keys:
            raise AnswerError("the provider publishes no usable key")
        return Published(metadata=metadata, keys=keys, read_at=now)

    def fetch(self, method: str, url: str, **sent: Any) -> Mapping[str, Any]:
        """The JSON object at the address, without redirects. Raises AnswerError."""
        deadline = time.monotonic() + 2 * _TIMEOUT_S
        try:
            with self.client.stream(
                method, url, timeout=_TIMEOUT_S, follow_redirects=False, **sent
            ) as response:
                body = read_bounded(response, max_bytes=_ANSWER_MAX, deadline=deadline)
            if response.status_code != httpx.codes.OK:
                refused = f"it answered {response.status_code}"
                raise AnswerError(refused, status=response.status_code)
            value = json.loads(body)
        except (httpx.HTTPError, httpx.InvalidURL, TooLargeError, TooSlowError) as error:
            raise AnswerError(type(error).__name__) from None
        except (ValueError, RecursionError):
            raise AnswerError("it answered no JSON") from None
        if not isinstance(value, dict):
            raise AnswerError("it answered no JSON object")
        return value


def _import_keys(document: Mapping[str, Any]) -> Sequence[Key]:
    """The public keys for signatures; what is symmetric, weak or unknown is left out."""
    found: list[Key] = []
    listed = document.get("keys")
    for value in listed[:_KEYS_MOST] if isinstance(listed, list) else ():
        if not isinstance(value, dict) or value.get("use", "sig") != "sig":
            continue
        public = {
            name: value[name]
            for name in ("kty", "kid", "alg", "use", "n", "e", "crv", "x", "y")
            if name in value
        }
        try:
            if public.get("kty") == "RSA" and len(str(public.get("n"))) * 6 < _RSA_BITS_LEAST:
                continue
            key = JWKRegistry.import_key(public)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        if isinstance(key, RSAKey | ECKey | OKPKey):
            found.append(key)
    return found
