"""An identity provider in this process, at the edge of HTTP: OpenID Connect, as far as we use it.

`answer` takes the service's requests; `authorise` stands for the person's browser at the provider.
"""

import base64
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

ISSUER = "https://login.example"
CLIENT, SECRET = "smartcloudops", "s3cret/+ of the client"


def key(kid: str) -> ECKey:
    return ECKey.generate_key("P-256", {"kid": kid, "use": "sig"})


@dataclass(kw_only=True)
class Issuer:
    """The provider. `away` answers nothing, `wrong` replaces what an ID token claims."""

    keys: list[ECKey] = field(default_factory=lambda: [key("first")])
    away: bool = False
    asked: list[str] = field(default_factory=list)
    wrong: dict[str, Any] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    issued: list[str] = field(default_factory=list)
    _codes: dict[str, dict[str, Any]] = field(default_factory=dict)

    def client(self) -> httpx.Client:
        return httpx.Client(transport=httpx.MockTransport(self.answer))

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if self.away:
            raise httpx.ConnectError("refused", request=request)
        match request.url.path:
            case "/.well-known/openid-configuration":
                return httpx.Response(200, json=self._document())
            case "/keys":
                listed = [key.as_dict(private=False) for key in self.keys]
                return httpx.Response(200, json={"keys": listed})
            case "/token":
                return self._exchange(request)
        return httpx.Response(404)

    def _document(self) -> dict[str, Any]:
        return {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/authorise",
            "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/keys",
            **self.document,
        }

    def authorise(self, address: str, name: str, groups: list[str], **claims: Any) -> str:
        """What the person's browser is sent back with: path and query of the service."""
        asked = dict(parse_qsl(urlsplit(address).query))
        assert address.startswith(f"{ISSUER}/authorise?")
        assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
        code = f"code-{len(self._codes)}-of-{name}"
        self.issued.append(code)
        self._codes[code] = {"asked": asked, "claims": {**_person(name, groups), **claims}}
        back = urlsplit(asked["redirect_uri"])
        return f"{back.path}?{urlencode({'code': code, 'state': asked['state']})}"

    def _exchange(self, request: httpx.Request) -> httpx.Response:
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        known = self._codes.pop(form["code"], None)
        user, _, password = _basic(request).partition(":")
        challenge = base64.urlsafe_b64encode(
            hashlib.sha256(form["code_verifier"].encode()).digest()
        )
        valid = (
            known is not None
            and (unquote(user), unquote(password)) == (CLIENT, SECRET)
            and form["redirect_uri"] == known["asked"]["redirect_uri"]
            and challenge.rstrip(b"=").decode() == known["asked"]["code_challenge"]
        )
        if not valid or known is None:
            return httpx.Response(400, json={"error": "invalid_grant"})
        token = self.sign({"nonce": known["asked"]["nonce"], **known["claims"], **self.wrong})
        self.issued.append(token)
        return httpx.Response(200, json={"id_token": token, "access_token": "unused"})

    def token(self, name: str, groups: list[str], **claims: Any) -> str:
        """A JWT for the API."""
        return self.sign({**_person(name, groups), **claims})

    def sign(
        self,
        claims: Mapping[str, Any],
        *,
        by: ECKey | OctKey | None = None,
        header: Mapping[str, Any] | None = None,
    ) -> str:
        now = int(time.time())
        whole = {"iss": ISSUER, "aud": CLIENT, "iat": now, "exp": now + 300, **claims}
        signer = by or self.keys[-1]
        named = {"alg": "ES256", "kid": self.keys[-1].kid, **(header or {})}
        kept = {name: value for name, value in whole.items() if value is not None}
        return jwt.encode(named, kept, signer, algorithms=["ES256", "HS256"])


def unsigned(claims: Mapping[str, Any]) -> str:
    """A JWT of the algorithm `none`."""
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts]
    return b".".join([*encoded, b""]).decode()


def _person(name: str, groups: list[str]) -> dict[str, Any]:
    email = f"{name}@example.com"
    return {"sub": f"sub-{name}", "email": email, "email_verified": True, "groups": groups}


def _basic(request: httpx.Request) -> str:
    encoded = request.headers.get("Authorization", "").removeprefix("Basic ")
    return base64.b64decode(encoded).decode()
