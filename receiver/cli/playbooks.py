"""What the command line says of playbooks: whether they are sound, and what they would do."""

import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

import click

from actions.assurance import role_check as own_role
from actions.aws import clients
from actions.aws import errors as aws_errors
from actions.aws.clients import AWS_ERRORS
from models.inference.artifact import ModelError, load_shipped
from models.inference.detector import judge
from receiver import settings
from receiver.db.database import DatabaseUrlError
from receiver.decision import explain as explaining
from receiver.playbook_testing import runner
from receiver.playbooks import iam_scope
from receiver.playbooks.loader import InvalidPlaybooksError, Playbooks
from receiver.playbooks.loader import load as load_playbooks
from receiver.runtime import log_setup
from receiver.settings import Settings, SettingsError

FAILED, BAD_INPUT = 1, 2
_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("folder", required=False, type=_PATH)
@click.option("--role", is_flag=True, help="Ask IAM what the present role may do beyond need.")
def check(folder: Path | None, *, role: bool) -> None:
    """Lint the settings and the playbooks; needs neither network nor credentials without --role."""
    found = playbooks_or_exit(folder or settings_or_exit().playbooks)
    if role:
        _check_role(found)
    click.echo(f"{len(found.items)} playbooks, no findings")


def _check_role(found: Playbooks) -> None:
    """A line for each operation too many; where nobody may ask, a line that says so."""
    needed = iam_scope.narrowed_policy(found, region=None, account=None, groups=())
    granted = {one for statement in needed["Statement"] for one in statement["Action"]}
    try:
        more = own_role.find_excess(*clients.connect_identity(), granted)
    except AWS_ERRORS as error:
        name, _ = aws_errors.classify(error)
        click.echo(f"the role was not checked: {name} (iam:SimulatePrincipalPolicy is needed)")
        return
    for one in more:
        click.echo(f"warning: the role may {one}, which no playbook needs", err=True)


@click.command("test")
@click.argument("folder", required=False, type=_PATH)
def test_playbooks(folder: Path | None) -> None:
    """Run the tests of playbooks in FOLDER/tests; needs neither network nor credentials."""
    folder = folder or settings_or_exit().playbooks
    try:
        model = load_shipped()
    except ModelError as error:
        fail(str(error), FAILED)
    report = runner.run(folder, playbooks_or_exit(folder), partial(judge, model))
    for finding in report.findings:
        click.echo(str(finding), err=True)
    if report.findings:
        sys.exit(FAILED)
    if not report.passed:
        fail(f"{folder / 'tests'}: there are no tests", FAILED)
    click.echo(f"{report.passed} tests passed")


@click.command()
@click.argument("payload", type=_PATH)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def explain(payload: Path, *, as_json: bool) -> None:
    """Say what would be done about each alert of a webhook body, and why; act on nothing."""
    loaded = settings_or_exit()
    # What could not be read is why a gate says "not confirmed".
    log_setup.configure("console", "warning")
    try:
        body = payload.read_bytes()
        found = explaining.explain(body, loaded, playbooks_or_exit(loaded.playbooks))
    except OSError as error:
        fail(f"{payload}: {error.strerror}", BAD_INPUT)
    except (explaining.PayloadError, DatabaseUrlError) as error:
        fail(f"{payload}: {error}", BAD_INPUT)
    except AWS_ERRORS as error:
        fail(f"AWS clients cannot be made: {error}", BAD_INPUT)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        click.echo("\n\n".join(explaining.as_text(one) for one in found))


@click.command("iam-policy")
@click.argument("folder", required=False, type=_PATH)
@click.option("--region", help="The only region that it acts in.")
@click.option("--account", help="The account's number.")
@click.option("--group", "groups", multiple=True, help="An Auto Scaling group; all else.")
def iam_policy(
    folder: Path | None, region: str | None, account: str | None, groups: Sequence[str]
) -> None:
    """Print the IAM policy that the loaded playbooks need; needs no network nor credentials."""
    loaded = playbooks_or_exit(folder or settings_or_exit().playbooks)
    try:
        said = iam_scope.narrowed_policy(loaded, region=region, account=account, groups=groups)
    except iam_scope.ScopeError as error:
        fail(str(error), BAD_INPUT)
    click.echo(json.dumps(said, indent=2))


def settings_or_exit() -> Settings:
    try:
        return settings.load()
    except SettingsError as error:
        fail(str(error), BAD_INPUT)


def playbooks_or_exit(folder: Path) -> Playbooks:
    try:
        return load_playbooks(folder)
    except InvalidPlaybooksError as errors:
        for finding in errors.findings:
            click.echo(str(finding), err=True)
        sys.exit(FAILED)


def fail(message: str, code: int) -> NoReturn:
    click.echo(f"smartcloudops: {message}", err=True)
    sys.exit(code)
