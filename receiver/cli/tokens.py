"""`smartcloudops token`: creates, lists and revokes API tokens."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from receiver import settings
from receiver.cli.durations import Duration
from receiver.cli.errors import BadInputError
from receiver.cli.output import echo
from receiver.http.access import tokens
from receiver.http.access.callers import Role, Scope
from receiver.http.access.tokens import TokensError
from receiver.settings import SettingsError


@click.group()
def token() -> None:
    """Bearer tokens for the API."""


@token.command("create")
@click.option("--role", required=True, type=click.Choice([str(role) for role in Role]))
@click.option("--name", required=True, help="The holder's name in the audit.")
@click.option(
    "--ttl",
    type=Duration(),
    help="Validity of the token, such as 90d or 12h; default: until revoked.",
)
@click.option("--person", help="The person who holds the token, if NAME is not the person's name.")
@click.option("--service", "services", multiple=True, help="Only this group, or web-*; repeatable.")
@click.option("--playbook", "playbooks", multiple=True, help="Only this playbook; repeatable.")
@click.option("--account", "accounts", multiple=True, help="Only this account; repeatable.")
@click.option(
    "--break-glass",
    is_flag=True,
    help="For --person while the identity provider is away; each use is on record.",
)
def token_create(
    role: str,
    name: str,
    ttl: float | None,
    person: str | None,
    *,
    break_glass: bool,
    **limits: tuple[str, ...],
) -> None:
    """Add a token to SMARTCLOUDOPS_TOKENS_FILE and print it; it cannot be shown again."""
    expires_at = None if ttl is None else time.time() + ttl
    with _tokens_file() as path:
        secret = tokens.create(
            path,
            Role(role),
            name,
            expires_at=expires_at,
            owner=person,
            scope=Scope(**{part: names or None for part, names in limits.items()}),
            break_glass=break_glass,
        )
    echo(secret)


@token.command("list")
def token_list() -> None:
    """List each token's holder, role and expiry."""
    with _tokens_file() as path:
        entries = tokens.list_tokens(path)
    for entry in entries:
        validity = "for ever"
        if entry.expires_at is not None:
            label = "until" if entry.valid(time.time()) else "expired"
            validity = f"{label} {entry.expires_at:%FT%TZ}"
        marks = ["  break-glass"] if entry.break_glass else []
        limits = {part: names for part, names in vars(entry.scope).items() if names}
        marks += [f"  {part}: {', '.join(names)}" for part, names in limits.items()]
        echo(f"{entry.name}  {entry.role}  {validity}{''.join(marks)}")


@token.command("revoke")
@click.argument("name")
def token_revoke(name: str) -> None:
    """Remove a token from SMARTCLOUDOPS_TOKENS_FILE; a service refuses it within a second."""
    with _tokens_file() as path:
        tokens.revoke(path, name)
        echo(f"revoked {name} in {path}; a running service refuses it within a second")


@contextmanager
def _tokens_file() -> Iterator[Path]:
    try:
        yield settings.load().tokens_file
    except (SettingsError, TokensError, OSError) as error:
        raise BadInputError(str(error)) from None
