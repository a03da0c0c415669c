"""The file that gives roles to the groups of the identity provider."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from actions.atomic_file import file_stamp
from receiver.http.access.auth import ProviderUnavailableError
from receiver.http.access.callers import Grant, Role, ScopeFields
from receiver.http.access.tokens import PEOPLE_GRACE_S
from receiver.playbooks.loader import Finding, InvalidFilesError, findings
from receiver.playbooks.yaml_source import YamlError, read

_log = structlog.get_logger()
_UNREADABLE = "the file of SMARTCLOUDOPS_OIDC_ROLES is unreadable, so people are refused"


class InvalidRolesError(InvalidFilesError):
    """The file cannot be used."""


class GroupRole(ScopeFields):
    """A role of a group's members; machines deliver by token, so none is `webhook`."""

    group: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    role: Literal[Role.VIEWER, Role.OPERATOR, Role.ADMIN]


class _RolesFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    roles: Annotated[Sequence[GroupRole], Field(min_length=1)]


@dataclass(kw_only=True)
class RoleMap:
    """Roles by group. The file is read again after a change.

    While it is unreadable, the last roles hold for `PEOPLE_GRACE_S`: what is unread may take one.
    """

    path: Path
    monotonic: Callable[[], float] = time.monotonic
    _grants: Mapping[str, Sequence[Grant]] = field(init=False)
    _stamp: object = field(init=False)
    _unreadable_since: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        """Raises InvalidRolesError."""
        self._stamp = file_stamp(self.path)
        self._grants = load(self.path)

    def grants_of(self, groups: Sequence[str]) -> Sequence[Grant]:
        """The roles of all these groups; empty is none. Raises ProviderUnavailableError."""
        self._refresh()
        return [grant for group in dict.fromkeys(groups) for grant in self._grants.get(group, ())]

    def _refresh(self) -> None:
        stamp, now = file_stamp(self.path), self.monotonic()
        if stamp == self._stamp and self._unreadable_since is None:
            return
        try:
            self._grants = load(self.path)
        except InvalidRolesError as error:
            if self._unreadable_since is None:
                _log.error("oidc_roles_read_failed", reason=str(error), grace_s=PEOPLE_GRACE_S)
                self._unreadable_since = now
            if now - self._unreadable_since >= PEOPLE_GRACE_S:
                raise ProviderUnavailableError(_UNREADABLE) from None
        else:
            self._stamp, self._unreadable_since = stamp, None
            _log.info("oidc_roles_read", groups=len(self._grants))


def load(path: Path) -> Mapping[str, Sequence[Grant]]:
    """The roles by group. Raises InvalidRolesError with each fault."""
    try:
        value, lines = read(path)
    except YamlError as error:
        fault = Finding(file=path, line=error.line, message=error.message)
        raise InvalidRolesError([fault]) from None
    try:
        rows = _RolesFile.model_validate(value).roles
    except ValidationError as error:
        raise InvalidRolesError(list(findings(path, lines, (), error))) from None
    grants: dict[str, list[Grant]] = {}
    for row in rows:
        grants.setdefault(row.group, []).append(Grant(role=row.role, scope=row.scope))
    return grants
