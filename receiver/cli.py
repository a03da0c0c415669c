"""The console script: errors are one line on stderr, exit 2 for bad input, 1 for a failed check."""

import gc
import importlib
import json
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import click
import httpx
import uvicorn
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from actions.aws import AWS_ERRORS
from models.artifact import ModelError, shipped
from models.detector import judge
from receiver import (
    audit_cli,
    coverage_cli,
    entitlement,
    logs,
    playbook_tests,
    report_cli,
    serving,
    settings,
    token_commands,
    tokens,
)
from receiver import explain as explaining
from receiver.app import app
from receiver.chat import ChatError, chat
from receiver.database import DatabaseUrlError
from receiver.outside import NotifyFileError, Services
from receiver.playbooks import PlaybookErrors, Playbooks
from receiver.playbooks import load as load_playbooks
from receiver.serving import TlsError
from receiver.settings import Settings, SettingsError
from receiver.signatures import SecretFileError, secret_of
from receiver.single_process import AlreadyRunningError
from receiver.system import System, TracingError
from receiver.tokens import TokensError

_FAILED, _BAD_INPUT = 1, 2
_UNUSABLE = (
    AlreadyRunningError,
    ChatError,
    DatabaseUrlError,
    NotifyFileError,
    SecretFileError,
    TlsError,
    TokensError,
    TracingError,
)
_PATH = click.Path(path_type=Path)


class _Commands(click.Group):
    """The commands; what takes seconds to load is loaded once it is asked for."""

    _LATER: ClassVar = {"train": "receiver.model_cli", "evaluate": "receiver.model_cli"}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *self._LATER])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._LATER:
            return super().get_command(ctx, cmd_name)
        found: click.Command = getattr(importlib.import_module(self._LATER[cmd_name]), cmd_name)
        return found


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="smartcloudops", message="%(prog)s %(version)s")
def cli() -> None:
    """Remediate Prometheus alerts on AWS: re-checked, guarded, effectively once, audited."""


@cli.command()
def serve() -> None:
    """Take alerts and act on them, as far as SMARTCLOUDOPS_MODE allows."""
    loaded = _settings()
    playbooks = _playbooks(loaded.playbooks)
    try:
        known = tokens.load(loaded.tokens_file)
        how = serving.options(loaded)
        http = httpx.Client(trust_env=False)
        services = Services(str(loaded.alertmanager_url), loaded.notify_file, http)
        system = System(loaded, playbooks, outside=services, announce=services.announce)
        talking = chat(loaded, system, http)
        logs.configure(loaded.log_format, loaded.log_level, _secrets(loaded))
        # Before the port is bound: whoever gets a connection gets an answer.
        system.prepare()
    except _UNUSABLE as error:
        _fail(str(error), _BAD_INPUT)
    except AWS_ERRORS as error:
        _fail(f"AWS clients cannot be made: {error}", _BAD_INPUT)
    except SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        _fail(f"the database cannot be used: {type(cause).__name__}", _FAILED)
    # uvicorn stops in order, and then sends itself the signal again, which would be the status.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    # What is loaded stays: looking through it for garbage would hold up deliveries.
    gc.collect()
    gc.freeze()
    uvicorn.run(app(system, known, talking), **how)


@cli.command()
@click.argument("folder", required=False, type=_PATH)
def check(folder: Path | None) -> None:
    """Lint the settings and the playbooks; needs neither network nor credentials."""
    found = _playbooks(folder or _settings().playbooks)
    click.echo(f"{len(found.items)} playbooks, no findings")


@cli.command("test")
@click.argument("folder", required=False, type=_PATH)
def test_playbooks(folder: Path | None) -> None:
    """Run the tests of playbooks in FOLDER/tests; needs neither network nor credentials."""
    folder = folder or _settings().playbooks
    try:
        model = shipped()
    except ModelError as error:
        _fail(str(error), _FAILED)
    report = playbook_tests.run(folder, _playbooks(folder), partial(judge, model))
    for finding in report.findings:
        click.echo(str(finding), err=True)
    if report.findings:
        sys.exit(_FAILED)
    if not report.passed:
        _fail(f"{folder / 'tests'}: there are no tests", _FAILED)
    click.echo(f"{report.passed} tests passed")


@cli.command()
@click.argument("payload", type=_PATH)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def explain(payload: Path, *, as_json: bool) -> None:
    """Say what would be done about each alert of a webhook body, and why; act on nothing."""
    loaded = _settings()
    logs.configure("console", "error")
    try:
        body = payload.read_bytes()
        found = explaining.explain(body, loaded, _playbooks(loaded.playbooks))
    except OSError as error:
        _fail(f"{payload}: {error.strerror}", _BAD_INPUT)
    except (explaining.PayloadError, DatabaseUrlError) as error:
        _fail(f"{payload}: {error}", _BAD_INPUT)
    except AWS_ERRORS as error:
        _fail(f"AWS clients cannot be made: {error}", _BAD_INPUT)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        click.echo("\n\n".join(explaining.told(one) for one in found))


@cli.command("iam-policy")
@click.argument("folder", required=False, type=_PATH)
@click.option("--region", help="The only region that it acts in.")
@click.option("--account", help="The account's number.")
@click.option("--group", "groups", multiple=True, help="An Auto Scaling group; all else.")
def iam_policy(
    folder: Path | None, region: str | None, account: str | None, groups: Sequence[str]
) -> None:
    """Print the IAM policy that the loaded playbooks need; needs no network nor credentials."""
    loaded = _playbooks(folder or _settings().playbooks)
    try:
        said = entitlement.of(loaded, region=region, account=account, groups=groups)
    except entitlement.ScopeError as error:
        _fail(str(error), _BAD_INPUT)
    click.echo(json.dumps(said, indent=2))


cli.add_command(audit_cli.audit_group)
cli.add_command(report_cli.report_command)
cli.add_command(coverage_cli.coverage_command)
cli.add_command(token_commands.token)


@cli.command()
@click.option("--once", is_flag=True, help="End after the scripted incidents.")
def demo(*, once: bool) -> None:
    """Break a real chain on this machine and watch it heal."""
    try:
        # By name: production installs none of its dependencies, and receiver stands below demo.
        driver = importlib.import_module("demo.driver")
    except ImportError as error:
        _fail(f"the demo is not installed ({error.name}): pip install 'smartcloudops[demo]'", 1)
    sys.exit(driver.run(once=once))


def _settings() -> Settings:
    try:
        return settings.load()
    except SettingsError as error:
        _fail(str(error), _BAD_INPUT)


def _secrets(loaded: Settings) -> list[str]:
    """What must not get into the log, as far as it is known by its value."""
    files = (loaded.slack_secret_file, loaded.chat_secret_file, loaded.ask_key_file)
    found = [secret_of(file) for file in files if file is not None]
    password = make_url(loaded.database_url).password
    return [*found, *([str(password)] if password else [])]


def _playbooks(folder: Path) -> Playbooks:
    try:
        return load_playbooks(folder)
    except PlaybookErrors as errors:
        for finding in errors.findings:
            click.echo(str(finding), err=True)
        sys.exit(_FAILED)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"smartcloudops: {message}", err=True)
    sys.exit(code)


def main(arguments: list[str] | None = None) -> Any:  # noqa: ANN401 click's own return
    """Run the command line; a usage error is one line, too."""
    try:
        return cli.main(arguments, prog_name="smartcloudops", standalone_mode=False)
    except click.ClickException as error:
        _fail(error.format_message().replace("\n", " "), _BAD_INPUT)
    except click.Abort:
        sys.exit(130)
