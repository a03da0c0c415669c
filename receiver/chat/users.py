"""The file that maps a user of a chat to a name for the audit and a role."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints, TypeAdapter, ValidationError

from receiver.http.access.callers import Caller, Door, Grant, Role, ScopeFields


class ChatUsersError(Exception):
    """The file of chat users is unusable; the message names the file and the problem."""


_Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._@+-]{1,64}$")]


class ChatUser(ScopeFields):
    """A user; `person` is the name at other doors, if it differs from `name`."""

    name: _Name
    role: Role
    person: _Name | None = None

    @property
    def caller(self) -> Caller:
        return Caller(
            name=self.name,
            person=self.person or self.name,
            door=Door.CHAT,
            grants=(Grant(role=self.role, scope=self.scope),),
        )


_Key = Annotated[str, StringConstraints(pattern=r"^[a-z]+:[A-Za-z0-9._@/-]{1,128}$")]
_FILE = TypeAdapter(dict[_Key, ChatUser])


def load_users(path: Path) -> Mapping[str, ChatUser]:
    """The chat users by `slack:TEAM/USER` or `webhook:NAME`. Raises ChatUsersError."""
    try:
        return _FILE.validate_json(path.read_bytes())
    except OSError as error:
        raise ChatUsersError(f"{path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ChatUsersError(f"{path}: {where or 'file'}: {first['msg']}") from None
