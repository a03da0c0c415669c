"""`smartcloudops iam-policy`: what playbooks need in one account, or in a hub and its spokes."""

import json
from collections.abc import Sequence
from pathlib import Path

import click

from receiver.cli.errors import BadInputError
from receiver.cli.output import echo
from receiver.cli.playbooks import load_accounts, load_playbooks, load_settings
from receiver.playbooks import iam_scope


@click.command("iam-policy")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--region", help="Narrow the policy to one region.")
@click.option("--account", help="Narrow the policy to one account, by its number.")
@click.option(
    "--group",
    "groups",
    multiple=True,
    help="Narrow the policy to an Auto Scaling group; may be repeated.",
)
@click.option(
    "--hub",
    "side",
    flag_value="hub",
    help="The service's own role: it assumes the roles of SMARTCLOUDOPS_ACCOUNTS, and pages.",
)
@click.option("--spoke", "side", flag_value="spoke", help="The role of an account: all but paging.")
def iam_policy(
    folder: Path | None,
    region: str | None,
    account: str | None,
    groups: Sequence[str],
    side: str | None,
) -> None:
    """Print the IAM policy that the playbooks need; needs neither network nor credentials."""
    loaded = load_settings()
    playbooks = load_playbooks(loaded, folder)
    try:
        policy = iam_scope.narrowed_policy(playbooks, region=region, account=account, groups=groups)
    except iam_scope.ScopeError as error:
        raise BadInputError(str(error)) from None
    accounts = load_accounts(loaded)
    if side == "spoke" and account is None and accounts.has_own_tags:
        raise BadInputError("give --account: an account has an opt_in_tag of its own")
    policy = iam_scope.with_opt_in_tag(policy, accounts.opt_in_tag(account))
    if side == "spoke":
        policy = iam_scope.of_spoke(policy)
    if side == "hub":
        roles = [each.role_arn for each in accounts.accounts if each.role_arn is not None]
        if not roles:
            raise BadInputError("SMARTCLOUDOPS_ACCOUNTS names no file with a role_arn")
        own = any(each.role_arn is None for each in accounts.accounts)
        policy = iam_scope.of_hub(policy, roles, acts=own)
    echo(json.dumps(policy, indent=2))
