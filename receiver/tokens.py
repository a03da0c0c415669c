"""Bearer tokens and their roles. Only hashes are kept; a token is shown once, when it is made.

Tokens are 256 random bits, so that one round of SHA-256 keeps them as safe as a slow hash would.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError


class Role(StrEnum):
    """`viewer` < `operator` < `admin`; `webhook` stands apart and may only post alerts."""

    WEBHOOK = "webhook"
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def may(self, needed: "Role") -> bool:
        """Whether this role is enough where `needed` is asked for."""
        return self is needed or needed in _INCLUDES[self]


_INCLUDES = {
    Role.WEBHOOK: frozenset[Role](),
    Role.VIEWER: frozenset[Role](),
    Role.OPERATOR: frozenset({Role.VIEWER}),
    Role.ADMIN: frozenset({Role.VIEWER, Role.OPERATOR, Role.WEBHOOK}),
}


class Token(BaseModel):
    """One entry of the tokens file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._@-]{1,64}$")]
    role: Role
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class TokensError(Exception):
    """The tokens file cannot be used; the text names the file and quotes nothing of it."""


@dataclass(frozen=True)
class Tokens:
    entries: Sequence[Token]

    def of(self, secret: str) -> Token | None:
        """Whose token this is; every entry is compared, whichever matches."""
        digest = _digest(secret)
        found = None
        for entry in self.entries:
            if secrets.compare_digest(entry.sha256, digest):
                found = entry
        return found


_FILE = TypeAdapter(list[Token])


def load(path: Path) -> Tokens:
    """Raises TokensError."""
    try:
        entries = _FILE.validate_json(path.read_bytes())
    except FileNotFoundError:
        hint = "smartcloudops token create --role admin --name YOU"
        raise TokensError(f"{path}: there is no tokens file; make one: {hint}") from None
    except OSError as error:
        raise TokensError(f"{path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise TokensError(f"{path}: {where or 'file'}: {first['msg']}") from None
    if not entries:
        raise TokensError(f"{path}: it holds no token")
    return Tokens(entries)


def create(path: Path, role: Role, name: str) -> str:
    """Add a token to the file and return it: the one time that it can be read.

    Raises TokensError, also where the name is taken.
    """
    entries = list(load(path).entries) if path.exists() else []
    if any(entry.name == name for entry in entries):
        raise TokensError(f"{path}: there is a token named {name} already")
    secret = secrets.token_urlsafe(32)
    try:
        entries.append(Token(name=name, role=role, sha256=_digest(secret)))
    except ValidationError:
        raise TokensError("a name has 1 to 64 letters, digits or . _ @ -") from None
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(json.dumps([entry.model_dump() for entry in entries], indent=2) + "\n")
    beside.replace(path)
    return secret


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
