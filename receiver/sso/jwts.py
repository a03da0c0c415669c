"""Checks JWTs of the identity provider.

https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation,
https://www.rfc-editor.org/rfc/rfc8725 (best current practices for JWTs)
"""

from collections.abc import Mapping
from typing import Any

from joserfc import jwt
from joserfc.errors import (
    BadSignatureError,
    ExpiredTokenError,
    InvalidClaimError,
    JoseError,
    MissingClaimError,
)
from joserfc.jws import extract_compact
from joserfc.jwt import ClaimsOption, JWTClaimsRegistry

from receiver.http.access.auth import JwtRefusedError
from receiver.sso.provider import Provider

# Signatures by private keys alone: a shared secret, or none, proves nothing here.
ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
)
# Clocks may differ by this much.
_LEEWAY_S = 30
# An older JWT is refused even where it has not expired: nobody can take it back.
_AGE_MOST_S = 24 * 3600
_LENGTH_MOST = 16 * 1024
_TYPES = frozenset({"", "jwt", "at+jwt", "application/at+jwt"})


def check(
    text: str, provider: Provider, *, audience: str, now: float, nonce: str | None = None
) -> Mapping[str, Any]:
    """The claims of a JWT for this audience. `now` is epoch seconds.

    Raises JwtRefusedError with a reason from a closed set, and ProviderUnavailableError.
    """
    if len(text) > _LENGTH_MOST:
        raise JwtRefusedError("it is too long")
    try:
        header = extract_compact(text.encode("ascii")).protected
    except (JoseError, ValueError, TypeError, KeyError, RecursionError):
        raise JwtRefusedError("it is malformed") from None
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm not in ALGORITHMS:
        raise JwtRefusedError("its algorithm is not allowed")
    if kid is not None and not isinstance(kid, str):
        raise JwtRefusedError("it is malformed")
    if str(header.get("typ") or "").lower() not in _TYPES:
        raise JwtRefusedError("it is of another type")
    key = provider.key(kid)
    if key is None:
        raise JwtRefusedError("its key is not the identity provider's")
    try:
        claims = jwt.decode(text, key, algorithms=list(ALGORITHMS)).claims
    except BadSignatureError:
        raise JwtRefusedError("its signature is wrong") from None
    except (JoseError, ValueError, TypeError, RecursionError):
        raise JwtRefusedError("it is malformed") from None
    _check_claims(claims, provider.issuer, audience, now, nonce)
    return claims


def _check_claims(
    claims: dict[str, Any], issuer: str, audience: str, now: float, nonce: str | None
) -> None:
    wanted: dict[str, ClaimsOption] = {
        "iss": {"essential": True, "value": issuer},
        "aud": {"essential": True, "value": audience},
        "sub": {"essential": True},
        "exp": {"essential": True},
        "iat": {"essential": True},
    }
    if nonce is not None:
        wanted["nonce"] = {"essential": True, "value": nonce}
    try:
        JWTClaimsRegistry(now=int(now), leeway=_LEEWAY_S, **wanted).validate(claims)
    except ExpiredTokenError:
        raise JwtRefusedError("it has expired") from None
    except (InvalidClaimError, MissingClaimError) as error:
        raise JwtRefusedError(_wrong(error.claim)) from None
    except JoseError:
        raise JwtRefusedError("a claim is wrong") from None
    if claims["iat"] < now - _AGE_MOST_S:
        raise JwtRefusedError("it was issued more than a day ago")
    if "events" in claims:
        # A logout or security event token, which tells of a person and is not the person's.
        raise JwtRefusedError("it is of another type")
    _check_parties(claims, audience, nonce)


def _check_parties(claims: Mapping[str, Any], audience: str, nonce: str | None) -> None:
    """An ID token for several audiences must have been issued to us."""
    several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
    if nonce is not None and claims.get("azp", None if several else audience) != audience:
        raise JwtRefusedError(_wrong("azp"))


def _wrong(claims: str) -> str:
    known = {
        "iss": "it is of another issuer",
        "aud": "it is for another audience",
        "azp": "it is for another audience",
        "nonce": "it is of another login",
        "nbf": "it is not valid yet",
        "iat": "it was issued in the future",
    }
    return known.get(claims, "a claim is missing or wrong")
