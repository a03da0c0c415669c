"""Who calls, by the identity provider: at the console and at the API."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from receiver.db.database import Database
from receiver.http.access.auth import JwtRefusedError
from receiver.http.access.callers import Caller, Door
from receiver.settings import Settings, SettingsError
from receiver.sso import jwts
from receiver.sso.code_flow import Attempt, CodeFlow
from receiver.sso.people import People
from receiver.sso.provider import Provider
from receiver.sso.role_map import RoleMap

CALLBACK = "/login/oidc/callback"
_GROUPS_MOST = 1000


@dataclass(frozen=True, kw_only=True)
class SignOn:
    """People of one identity provider. `clock` gives epoch seconds."""

    provider: Provider
    flow: CodeFlow
    roles: RoleMap
    people: People
    audience: str
    name_claim: str
    groups_claim: str
    clock: Callable[[], float]

    def caller_of(self, jwt: str) -> Caller:
        """Who presents a JWT at the API. Raises JwtRefusedError, ProviderUnavailableError."""
        return self._caller(
            jwts.check(jwt, self.provider, audience=self.audience, now=self.clock())
        )

    def finish(self, attempt: Attempt, returned: Mapping[str, str]) -> Caller:
        """Who returns from the provider to the console.

        Raises JwtRefusedError, ProviderUnavailableError.
        """
        token = self.flow.id_token(
            attempt,
            state=returned.get("state", ""),
            code=returned.get("code", ""),
            iss=returned.get("iss"),
        )
        claims = jwts.check(
            token,
            self.provider,
            audience=self.flow.client_id,
            now=self.clock(),
            nonce=attempt.nonce,
        )
        return self._caller(claims)

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        groups = _groups(claims.get(self.groups_claim))
        grants = self.roles.grants_of(groups)
        if not grants:
            raise JwtRefusedError("none of its groups has a role")
        if self.name_claim == "email" and claims.get("email_verified") is False:
            raise JwtRefusedError("its e-mail address is not verified")
        subject, person = self.people.identify(
            claims["iss"], claims["sub"], claims.get(self.name_claim), claims["iat"]
        )
        return Caller(
            name=person,
            person=person,
            door=Door.SSO,
            grants=grants,
            subject=subject,
            # Only those with a role: a provider may send hundreds.
            groups=[group for group in groups if self.roles.grants_of([group])],
        )


def make_sign_on(
    settings: Settings,
    database: Database,
    client: httpx.Client,
    clock: Callable[[], float],
) -> SignOn | None:
    """The identity provider of the settings; None without one.

    Raises SettingsError and InvalidRolesError.
    """
    if settings.oidc_issuer is None:
        return None
    missing = [
        f"SMARTCLOUDOPS_{name.upper()}"
        for name in ("oidc_client_id", "oidc_roles", "public_url")
        if not getattr(settings, name)
    ]
    if missing or settings.oidc_roles is None:
        raise SettingsError(f"SMARTCLOUDOPS_OIDC_ISSUER needs {' and '.join(missing)}")
    provider = Provider(issuer=settings.oidc_issuer, client=client)
    flow = CodeFlow(
        provider=provider,
        client_id=settings.oidc_client_id,
        secret_file=settings.oidc_client_secret_file,
        redirect_uri=f"{str(settings.public_url).rstrip('/')}{CALLBACK}",
        scopes=settings.oidc_scopes,
    )
    return SignOn(
        provider=provider,
        flow=flow,
        roles=RoleMap(path=settings.oidc_roles),
        people=People(database=database, clock=clock),
        audience=settings.oidc_audience or settings.oidc_client_id,
        name_claim=settings.oidc_name_claim,
        groups_claim=settings.oidc_groups_claim,
        clock=clock,
    )


def _groups(claim: object) -> Sequence[str]:
    if isinstance(claim, str):
        return [claim]
    if not isinstance(claim, list):
        return []
    return [group for group in claim[:_GROUPS_MOST] if isinstance(group, str)]
