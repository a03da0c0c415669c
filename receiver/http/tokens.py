"""Bearer tokens and their roles. Only hashes are kept; a token is shown once, when it is made.

Tokens are 256 random bits, so that one round of SHA-256 keeps them as safe as a slow hash would.
"""

import fcntl
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import structlog
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    StringConstraints,
    TypeAdapter,
    ValidationError,
)

_log = structlog.get_logger()
# How late a revoked token may still let in, in seconds.
_LOOK_EVERY_S = 1.0


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
    """One entry of the tokens file. Without `expires_at` it is valid until it is revoked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._@-]{1,64}$")]
    role: Role
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    created_at: AwareDatetime | None = None
    expires_at: AwareDatetime | None = None

    def valid(self, now: float) -> bool:
        return self.expires_at is None or now < self.expires_at.timestamp()


class TokensError(Exception):
    """The tokens file cannot be used; the text names the file and quotes nothing of it."""


class Tokens:
    """Who may call. With a `path`, its file is read again soon after it has changed.

    A file that cannot be used any more leaves what was read before, until it can: half a file
    would shut everybody out, Alertmanager included. `clock` gives epoch seconds.
    """

    def __init__(
        self,
        entries: Sequence[Token],
        *,
        path: Path | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._entries, self._path, self._clock = entries, path, clock
        # As the file was when it was read, and when it could not be.
        self._seen = self._failed = _state(path)
        self._looked = clock()

    def of(self, secret: str) -> Token | None:
        """Whose token this is, None where it is nobody's or is over."""
        return self.by_digest(_digest(secret))

    def by_digest(self, digest: str) -> Token | None:
        """The same by the token's SHA-256; every entry is compared, whichever matches."""
        self._refresh()
        now = self._clock()
        found = None
        for entry in self._entries:
            if secrets.compare_digest(entry.sha256, digest):
                found = entry
        return found if found is not None and found.valid(now) else None

    def _refresh(self) -> None:
        now = self._clock()
        if self._path is None or 0 <= now - self._looked < _LOOK_EVERY_S:
            return
        self.look()

    def look(self) -> None:
        """Read the file if it has changed, and not only once a while: for people, who can wait."""
        self._looked = self._clock()
        state = _state(self._path)
        if self._path is None or state == self._seen:
            return
        try:
            self._entries = _read(self._path)
        except TokensError as error:
            # It is tried again until it succeeds: what cannot be read now may hold a revocation.
            if state != self._failed:
                _log.error("tokens_unreadable", why=str(error))
            self._failed = state
        else:
            self._seen, self._failed = state, self._seen
            _log.info("tokens_read", count=len(self._entries))


_FILE = TypeAdapter(list[Token])


def load(path: Path, *, clock: Callable[[], float] = time.time) -> Tokens:
    """Raises TokensError, also where the file holds no token."""
    entries = _read(path)
    if not entries:
        raise TokensError(f"{path}: it holds no token")
    return Tokens(entries, path=path, clock=clock)


def every(path: Path) -> Sequence[Token]:
    """What the file holds, expired ones as well. Raises TokensError."""
    return _read(path)


def create(path: Path, role: Role, name: str, *, expires_at: float | None = None) -> str:
    """Add a token to the file and return it: the one time that it can be read.

    `expires_at` in epoch seconds. Raises TokensError, also where the name is taken.
    """
    with _locked(path):
        entries = list(_read(path)) if path.exists() else []
        if any(entry.name == name for entry in entries):
            raise TokensError(f"{path}: there is a token named {name} already")
        secret = secrets.token_urlsafe(32)
        try:
            made = Token(
                name=name,
                role=role,
                sha256=_digest(secret),
                created_at=datetime.now(UTC).replace(microsecond=0),
                expires_at=None if expires_at is None else datetime.fromtimestamp(expires_at, UTC),
            )
        except ValidationError:
            raise TokensError("a name has 1 to 64 letters, digits or . _ @ -") from None
        _write(path, [*entries, made])
    return secret


def revoke(path: Path, name: str) -> None:
    """Take a token out of the file. Raises TokensError, also where there is none of that name."""
    with _locked(path):
        entries = _read(path)
        kept = [entry for entry in entries if entry.name != name]
        if len(kept) == len(entries):
            raise TokensError(f"{path}: there is no token named {name}")
        _write(path, kept)


def _read(path: Path) -> Sequence[Token]:
    try:
        return _FILE.validate_json(path.read_bytes())
    except FileNotFoundError:
        hint = "smartcloudops token create --role admin --name YOU"
        raise TokensError(f"{path}: there is no tokens file; make one: {hint}") from None
    except OSError as error:
        raise TokensError(f"{path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise TokensError(f"{path}: {where or 'file'}: {first['msg']}") from None


def _write(path: Path, entries: Sequence[Token]) -> None:
    """In one move, so that whoever reads meanwhile finds the old file or the new one."""
    beside = path.with_name(f".{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        said = [entry.model_dump(mode="json", exclude_none=True) for entry in entries]
        file.write(json.dumps(said, indent=2) + "\n")
    beside.replace(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One change at a time: of two at once, the first one's token would be lost."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _state(path: Path | None) -> tuple[int, int, int] | None:
    try:
        found = path.stat() if path else None
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_size) if found else None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
