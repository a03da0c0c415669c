"""Who calls: a person or a machine, the roles, and what each role extends to.

A role may be limited to services (Auto Scaling groups), playbooks and accounts. What has no
playbook, or one that is not known yet, is outside of a role that is limited to playbooks; the same
holds for services and accounts. So nothing unknown is allowed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints


class Role(StrEnum):
    """`viewer` < `operator` < `admin`; `webhook` is separate and may only post alerts."""

    WEBHOOK = "webhook"
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def may(self, needed: "Role") -> bool:
        """Whether this role includes the role `needed`."""
        return self is needed or needed in _INCLUDES[self]


_INCLUDES = {
    Role.WEBHOOK: frozenset[Role](),
    Role.VIEWER: frozenset[Role](),
    Role.OPERATOR: frozenset({Role.VIEWER}),
    Role.ADMIN: frozenset({Role.VIEWER, Role.OPERATOR, Role.WEBHOOK}),
}


class Door(StrEnum):
    """How a caller proved who it is."""

    TOKEN = "token"  # noqa: S105 no secret, but the way in
    BREAK_GLASS = "break_glass"
    SSO = "sso"
    CHAT = "chat"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a call is about; None is unknown, or none."""

    account: str | None = None
    service: str | None = None
    playbook: str | None = None


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What a role extends to: names, or beginnings of names before a `*`; None is all."""

    services: Sequence[str] | None = None
    playbooks: Sequence[str] | None = None
    accounts: Sequence[str] | None = None

    @property
    def unlimited(self) -> bool:
        return self.services is None and self.playbooks is None and self.accounts is None

    def only(self, *parts: str) -> "Scope":
        """The limits of these parts, such as `services`, without the others."""
        return Scope(**{part: getattr(self, part) for part in parts})

    def covers(self, subject: Subject) -> bool:
        return (
            _covers(self.services, subject.service)
            and _covers(self.playbooks, subject.playbook)
            and _covers(self.accounts, subject.account)
        )


def _covers(names: Sequence[str] | None, name: str | None) -> bool:
    if names is None:
        return True
    return bool(name) and any(_fits(pattern, str(name)) for pattern in names)


def _fits(pattern: str, name: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


_Names = Annotated[
    tuple[Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f*]+\*?$", max_length=255)], ...],
    Field(min_length=1, max_length=500),
]


class ScopeFields(BaseModel):
    """The limits of a role in a file: names, or beginnings of names before a `*`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    services: _Names | None = None
    playbooks: _Names | None = None
    accounts: _Names | None = None

    @property
    def scope(self) -> Scope:
        return Scope(services=self.services, playbooks=self.playbooks, accounts=self.accounts)


@dataclass(frozen=True, kw_only=True)
class Grant:
    """A role, and what it extends to."""

    role: Role
    scope: Scope = Scope()


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who calls. `name` is for the audit, `person` counts as one approver, whatever the door.

    A session rests on `token_sha256`, or on `subject` and `groups` of the identity provider.
    """

    name: str
    person: str
    door: Door
    grants: Sequence[Grant]
    token_sha256: str = ""
    subject: str = ""
    groups: Sequence[str] = ()

    @property
    def role(self) -> Role:
        """The highest role, wherever it applies."""
        order = (Role.ADMIN, Role.OPERATOR, Role.VIEWER, Role.WEBHOOK)
        held = {grant.role for grant in self.grants}
        return next(role for role in order if role in held)

    def may(self, needed: Role) -> bool:
        """Whether some role includes this one, at least for a part."""
        return any(grant.role.may(needed) for grant in self.grants)

    def may_on(self, needed: Role, subject: Subject) -> bool:
        return any(grant.role.may(needed) and grant.scope.covers(subject) for grant in self.grants)

    def scopes(self, needed: Role) -> Sequence[Scope] | None:
        """The parts to which the role extends; None is everything."""
        scopes = [grant.scope for grant in self.grants if grant.role.may(needed)]
        return None if any(scope.unlimited for scope in scopes) else scopes

    def may_everywhere(self, needed: Role) -> bool:
        return self.scopes(needed) is None
