"""Bearer tokens and their roles. Only hashes are stored; a token is shown once, when created.

A token is 256 random bits, so one round of SHA-256 protects it as well as a slow hash would.
"""

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Self, TypedDict, Unpack

import structlog
from pydantic import (
    AwareDatetime,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from actions.atomic_file import file_stamp, locked, write_atomically
from receiver.http.access.callers import Caller, Door, Grant, Role, Scope, ScopeFields

__all__ = ["Role", "Token", "Tokens", "TokensError", "create", "list_tokens", "load", "revoke"]

_log = structlog.get_logger()
# Seconds for which a revoked token may still be accepted.
_CHECK_INTERVAL_S = 1.0
# While the file is unreadable, people's tokens stay valid only this long, because the unread file
# may revoke one. This is enough time to replace the file by hand.
PEOPLE_GRACE_S = 300.0


class Token(ScopeFields):
    """One entry of the tokens file. Without `expires_at` it is valid until it is revoked."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._@-]{1,64}$")]
    role: Role
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    created_at: AwareDatetime | None = None
    expires_at: AwareDatetime | None = None
    # The person who holds the token, if `name` is not the person's name.
    owner: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._@-]{1,64}$")] | None = None

    # For people while the identity provider is away; each use is on record.
    break_glass: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.role is Role.WEBHOOK and not self.scope.unlimited:
            raise ValueError("a token of the role webhook has no limits: alerts say little of them")
        if self.break_glass and (self.owner is None or self.role is Role.WEBHOOK):
            raise ValueError("a break-glass token is a person's, whom `owner` names")
        return self

    @property
    def caller(self) -> Caller:
        """Who calls with it; several tokens of a person count as one approver."""
        return Caller(
            name=self.name,
            person=self.owner or self.name,
            door=Door.BREAK_GLASS if self.break_glass else Door.TOKEN,
            grants=(Grant(role=self.role, scope=self.scope),),
            token_sha256=self.sha256,
        )

    def valid(self, now: float) -> bool:
        return self.expires_at is None or now < self.expires_at.timestamp()


class TokensError(Exception):
    """The tokens file cannot be used; the text has its path and none of its content."""


class Tokens:
    """The valid tokens. With a `path`, the file is read again soon after a change.

    While the file is unusable, the last tokens read stay valid: for people during `PEOPLE_GRACE_S`,
    for deliveries without limit, so that a damaged file stops no alert. `clock` gives epoch
    seconds, `monotonic` gives seconds of a clock that is never set.
    """

    def __init__(
        self,
        entries: Sequence[Token],
        *,
        path: Path | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._entries, self._path, self._clock, self._monotonic = entries, path, clock, monotonic
        # The file's state at the last successful, and at the last failed, read.
        self._read_state = self._failed_state = file_stamp(path)
        self._checked_at = monotonic()
        self._unreadable_since: float | None = None

    def find(self, secret: str, *, deliveries: bool = False) -> Token | None:
        """The token with this secret; None if it is unknown or expired, or the file is outdated.

        With `deliveries` the caller delivers alerts, and an outdated file still counts.
        """
        return self.by_digest(_digest(secret), deliveries=deliveries)

    def by_digest(self, digest: str, *, deliveries: bool = False) -> Token | None:
        """The token with this SHA-256; all entries are compared, so the time reveals nothing."""
        if self._monotonic() - self._checked_at >= _CHECK_INTERVAL_S:
            self.refresh()
        match = None
        for entry in self._entries:
            if secrets.compare_digest(entry.sha256, digest):
                match = entry
        if match is None or not match.valid(self._clock()):
            return None
        return None if self.outdated and not deliveries else match

    @property
    def unreadable(self) -> bool:
        """Whether the latest attempt to read the file failed."""
        return self._unreadable_since is not None

    @property
    def outdated(self) -> bool:
        """Whether the file has been unreadable for so long that people are refused."""
        since = self._unreadable_since
        return since is not None and self._monotonic() - since >= PEOPLE_GRACE_S

    def refresh(self) -> Self:
        """Read the file now if it has changed, without waiting for the next check."""
        self._checked_at = self._monotonic()
        state = file_stamp(self._path)
        if self._path is None or (state == self._read_state and not self.unreadable):
            return self
        try:
            self._entries = _read(self._path)
        except TokensError as error:
            # Tried again until it succeeds, because the unread change may be a revocation.
            if state != self._failed_state or not self.unreadable:
                _log.error("tokens_read_failed", reason=str(error), grace_s=PEOPLE_GRACE_S)
            self._failed_state = state
            if self._unreadable_since is None:
                self._unreadable_since = self._checked_at
        else:
            self._read_state, self._failed_state = state, self._read_state
            self._unreadable_since = None
            _log.info("tokens_read", count=len(self._entries))
        return self


_FILE = TypeAdapter(list[Token])


def load(
    path: Path,
    *,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> Tokens:
    """Read the tokens file. Raises TokensError, also where it has no token."""
    entries = _read(path)
    if not entries:
        raise TokensError(f"{path}: the tokens file has no token")
    return Tokens(entries, path=path, clock=clock, monotonic=monotonic)


def list_tokens(path: Path) -> Sequence[Token]:
    """All tokens of the file, expired tokens included. Raises TokensError."""
    return _read(path)


class TokenOptions(TypedDict, total=False):
    """Of a new token; `expires_at` in epoch seconds, `owner` is the person."""

    expires_at: float | None
    owner: str | None
    scope: Scope
    break_glass: bool


def create(
    path: Path,
    role: Role,
    name: str,
    **options: Unpack[TokenOptions],
) -> str:
    """Add a token to the file and return its secret, which is not stored.

    Raises TokensError, also where the name is taken.
    """
    expires_at = options.get("expires_at")
    with locked(path):
        entries = list(_read(path)) if path.exists() else []
        if any(entry.name == name for entry in entries):
            raise TokensError(f"{path}: a token named {name} exists already")
        secret = secrets.token_urlsafe(32)
        try:
            token = Token(
                name=name,
                role=role,
                sha256=_digest(secret),
                created_at=datetime.now(UTC).replace(microsecond=0),
                expires_at=None if expires_at is None else datetime.fromtimestamp(expires_at, UTC),
                owner=options.get("owner"),
                break_glass=options.get("break_glass", False),
                **vars(options.get("scope", Scope())),
            )
        except ValidationError as error:
            raise TokensError(_why(error)) from None
        _write(path, [*entries, token])
    return secret


def revoke(path: Path, name: str) -> None:
    """Remove a token from the file. Raises TokensError, also for an unknown name."""
    with locked(path):
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
        raise TokensError(f"{path}: no such file; create one with: {hint}") from None
    except OSError as error:
        raise TokensError(f"{path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise TokensError(f"{path}: {where or 'file'}: {first['msg']}") from None


def _why(error: ValidationError) -> str:
    """Why no such token can be made."""
    first = error.errors(include_input=False, include_url=False, include_context=False)[0]
    if first["loc"] and first["loc"][0] in {"name", "owner"}:
        return "a name has 1 to 64 letters, digits or . _ @ -"
    return first["msg"].removeprefix("Value error, ")


def _write(path: Path, entries: Sequence[Token]) -> None:
    rows = [
        entry.model_dump(mode="json", exclude_none=True, exclude_defaults=True) for entry in entries
    ]
    data = (json.dumps(rows, indent=2) + "\n").encode()
    try:
        write_atomically(path, data, mode=0o600, keep_rights=True)
    except PermissionError as error:
        raise TokensError(str(error)) from None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
