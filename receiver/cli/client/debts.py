"""`smartcloudops debts`: what runs have lent, and not given back yet."""

import json

import click

from receiver import settings
from receiver.cli.client.service import get_items
from receiver.cli.error_translation import translate_errors
from receiver.cli.output import echo


@click.command("debts")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def debts_command(*, as_json: bool) -> None:
    """List what runs have lent and not given back yet, as the service at SMARTCLOUDOPS_URL says."""
    with translate_errors():
        items = get_items(settings.load(), "/api/v1/debts")
    if as_json:
        echo(json.dumps(items, indent=2))
        return
    for debt in items:
        echo(
            f"{debt['since']}  {debt['action']} on {debt['target']}  {debt['state']}  "
            f"run {debt['run']}  {debt['problem'] or '-'}"
        )
    if not items:
        echo("nothing is owed")
