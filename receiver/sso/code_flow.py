"""The authorization code flow with PKCE.

https://openid.net/specs/openid-connect-core-1_0.html#CodeFlowAuth,
https://www.rfc-editor.org/rfc/rfc7636 (PKCE), https://www.rfc-editor.org/rfc/rfc9207 (`iss`)
"""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

from receiver.http.access.auth import JwtRefusedError
from receiver.http.access.signatures import SecretFileError, read_secret
from receiver.sso.provider import AnswerError, Provider

_TEXT_MOST = 4096
# https://www.rfc-editor.org/rfc/rfc6749#section-5.2
_REFUSALS = frozenset({400, 401, 403})


@dataclass(frozen=True)
class Attempt:
    """One attempt to log in: all of it follows from the secret in the browser's cookie.

    So no receiver stores attempts, and only the browser that began can finish.
    """

    secret: str

    @property
    def state(self) -> str:
        return self._derived("state")

    @property
    def nonce(self) -> str:
        return self._derived("nonce")

    @property
    def verifier(self) -> str:
        return self._derived("verifier")

    @property
    def challenge(self) -> str:
        return _base64url(hashlib.sha256(self.verifier.encode()).digest())

    def _derived(self, use: str) -> str:
        return _base64url(hmac.digest(self.secret.encode(), use.encode(), "sha256"))


@dataclass(frozen=True, kw_only=True)
class CodeFlow:
    """`secret_file` has the client's secret; without it the client is public, by PKCE alone."""

    provider: Provider
    client_id: str
    secret_file: Path | None
    redirect_uri: str
    scopes: str

    def begin(self, attempt: Attempt) -> str:
        """Where the browser is sent. Raises ProviderUnavailableError."""
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": self.scopes,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": attempt.challenge,
            "code_challenge_method": "S256",
        }
        endpoint = self.provider.published().metadata.authorization_endpoint
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    def id_token(self, attempt: Attempt, *, state: str, code: str, iss: str | None) -> str:
        """Exchange the code of the browser's return for the ID token, not checked yet.

        Raises JwtRefusedError and ProviderUnavailableError.
        """
        if not secrets.compare_digest(state.encode(), attempt.state.encode()):
            raise JwtRefusedError("the login was begun in another browser, or too long ago")
        metadata = self.provider.published().metadata
        required = metadata.authorization_response_iss_parameter_supported
        if (iss is not None or required) and iss != self.provider.issuer:
            raise JwtRefusedError("it is of another issuer")
        if not code or len(code) > _TEXT_MOST:
            raise JwtRefusedError("the identity provider gave no code")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": attempt.verifier,
        }
        headers = {"Accept": "application/json"}
        secret = self._secret()
        if secret is None:
            form["client_id"] = self.client_id
        elif "client_secret_basic" in metadata.token_endpoint_auth_methods_supported:
            pair = f"{quote(self.client_id, safe='')}:{quote(secret, safe='')}"
            headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": self.client_id, "client_secret": secret}
        try:
            answer = self.provider.fetch(
                "POST", metadata.token_endpoint, data=form, headers=headers
            )
        except AnswerError as error:
            if error.status in _REFUSALS:
                raise JwtRefusedError("the identity provider refused the code") from None
            raise
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise JwtRefusedError("the identity provider gave no ID token")
        return token

    def _secret(self) -> str | None:
        """Read for each login, because secrets are rotated."""
        try:
            return read_secret(self.secret_file) if self.secret_file else None
        except SecretFileError:
            raise JwtRefusedError("the client's secret cannot be read") from None


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
