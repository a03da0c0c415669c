"""`smartcloudops token`: who may call, from the command line.

What is bad input is a click exception, which the command line tells in one line.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from receiver import settings
from receiver.cli.durations import Duration
from receiver.http import tokens
from receiver.http.tokens import Role, TokensError
from receiver.settings import SettingsError


@click.group()
def token() -> None:
    """Bearer tokens for the API."""


@token.command("create")
@click.option("--role", required=True, type=click.Choice([str(role) for role in Role]))
@click.option("--name", required=True, help="Whose it is, as the audit will name them.")
@click.option(
    "--ttl", type=Duration(), help="How long it is valid, as 90d or 12h; without, for ever."
)
def token_create(role: str, name: str, ttl: float | None) -> None:
    """Add a token to SMARTCLOUDOPS_TOKENS_FILE and print it: it cannot be read again."""
    expires_at = None if ttl is None else time.time() + ttl
    with _file() as path:
        click.echo(tokens.create(path, Role(role), name, expires_at=expires_at))


@token.command("list")
def token_list() -> None:
    """Whose tokens there are, their roles, and until when they are valid."""
    with _file() as path:
        found = tokens.list_tokens(path)
    for one in found:
        until = "for ever"
        if one.expires_at is not None:
            said = "until" if one.valid(time.time()) else "expired"
            until = f"{said} {one.expires_at:%FT%TZ}"
        click.echo(f"{one.name}  {one.role}  {until}")


@token.command("revoke")
@click.argument("name")
def token_revoke(name: str) -> None:
    """Take a token out of SMARTCLOUDOPS_TOKENS_FILE; a running service follows within a second."""
    with _file() as path:
        tokens.revoke(path, name)
        click.echo(f"revoked {name} in {path}; a running service refuses it within a second")


@contextmanager
def _file() -> Iterator[Path]:
    try:
        yield settings.load().tokens_file
    except (SettingsError, TokensError, OSError) as error:
        raise click.ClickException(str(error)) from None
