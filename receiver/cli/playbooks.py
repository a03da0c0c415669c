"""The commands about playbooks: `check`, `test` and `explain`."""

import importlib
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import click

from actions.assurance import role_check as own_role
from actions.aws import clients
from actions.aws import errors as aws_errors
from actions.aws.errors import AWS_ERRORS
from models.inference.artifact import ModelError, load_shipped
from models.inference.detector import judge
from receiver import settings
from receiver.cli.checked_files import check_files
from receiver.cli.errors import BadInputError, FailedError, FindingsError
from receiver.cli.output import echo
from receiver.db.database import DatabaseUrlError
from receiver.decision import explain as explaining
from receiver.evidence.accounts import file as accounts_file
from receiver.evidence.accounts.file import Accounts
from receiver.evidence.accounts.readers import AwsReaders
from receiver.evidence.prometheus.connect import connect
from receiver.evidence.targets.resolver import TargetResolver
from receiver.evidence.targets.rules import TargetRules
from receiver.live_check.check import LiveCheck
from receiver.monitoring import alertmanager
from receiver.monitoring.alertmanager import AlertmanagerError
from receiver.playbook_testing import runner
from receiver.playbooks import alert_rules, iam_scope, loader, rule_check, verify_check
from receiver.playbooks.loader import (
    Finding,
    InvalidFilesError,
    InvalidPlaybooksError,
    Playbooks,
)
from receiver.runtime import log_setup
from receiver.settings import Settings, SettingsError

_PATH = click.Path(path_type=Path)
# Seconds for each query of `check --live`.
_LIVE_S = 30.0


@click.command()
@click.argument("folder", required=False, type=_PATH)
@click.option(
    "--role",
    is_flag=True,
    help="Warn of permissions that the current role has and no playbook needs; asks IAM.",
)
@click.option(
    "--rules",
    type=_PATH,
    help="A folder of Prometheus' alert rules; each re-check must imply its rule.",
)
@click.option(
    "--live",
    is_flag=True,
    help="Ask the real Prometheus, Alertmanager and AWS what would become of their alerts.",
)
def check(folder: Path | None, *, role: bool, rules: Path | None, live: bool) -> None:
    """Lint the settings and the playbooks; only --role and --live need network and credentials."""
    loaded = load_settings()
    folder = folder or loaded.playbooks
    playbooks = load_playbooks(loaded, folder)
    load_rules(loaded)
    load_accounts(loaded)
    check_files(loaded)
    _warn(verify_check.warn_of_filters(folder))
    if rules:
        _check_rules(folder, rules, loaded.node_job)
    if role:
        _check_role(playbooks)
    if live:
        _check_live(loaded, playbooks)
    echo(f"{len(playbooks.items)} playbooks, no findings")


def _warn(warnings: Sequence[Finding]) -> None:
    for warning in warnings:
        echo(f"{warning.file}:{warning.line}: warning: {warning.message}", err=True)


def _check_rules(folder: Path, rules: Path, job: str) -> None:
    """Print the warnings. Raises FindingsError where a re-check is weaker than its rule."""
    result = rule_check.check_rules(folder, alert_rules.load_rules(rules), job)
    _warn(result.warnings)
    if result.findings:
        raise FindingsError(result.findings)


def _check_role(playbooks: Playbooks) -> None:
    """Print a line for each excess permission, or one line if IAM does not allow the check."""
    needed = iam_scope.narrowed_policy(playbooks, region=None, account=None, groups=())
    granted = {name for statement in needed["Statement"] for name in statement["Action"]}
    try:
        excess = own_role.find_excess(*clients.connect_identity(), granted)
    except AWS_ERRORS as error:
        name = aws_errors.classify(error).name
        needs = "iam:GetRole and iam:SimulatePrincipalPolicy are needed"
        echo(f"the role was not checked: {name} ({needs})")
        return
    for name in excess:
        echo(f"warning: the role may {name}, which no playbook needs", err=True)


def _check_live(loaded: Settings, playbooks: Playbooks) -> None:
    """Print what was found. Raises FindingsError."""
    try:
        aws = clients.connect()
    except AWS_ERRORS as error:
        raise BadInputError(f"AWS clients cannot be created: {error}") from None
    rules, accounts = load_rules(loaded), load_accounts(loaded)
    aws_at = clients.PlaceClients(aws, accounts.accesses).at
    with connect(loaded, timeout_s=_LIVE_S) as prometheus, ThreadPoolExecutor() as pool:
        readers = AwsReaders(aws_at=aws_at, accounts=accounts, pool=pool, trail=loaded.cloudtrail)
        report = LiveCheck(
            settings=loaded,
            playbooks=playbooks,
            prometheus=prometheus,
            alertmanager=alertmanager.connect(loaded),
            aws=aws,
            exporters=rules.exporters,
            targets=TargetResolver(aws=readers, rules=rules),
        ).run()
    echo("\n".join(report.lines))
    if report.findings:
        raise FindingsError(report.findings)


@click.command("test")
@click.argument("folder", required=False, type=_PATH)
@click.option(
    "--incidents",
    type=_PATH,
    help="A folder of `backtest --save`: decide on its incidents again, too.",
)
@click.option(
    "--approved", type=_PATH, help="A file of differences, as printed, that may be there."
)
def test_playbooks(folder: Path | None, incidents: Path | None, approved: Path | None) -> None:
    """Run the tests of playbooks in FOLDER/tests; needs neither network nor credentials."""
    loaded = load_settings()
    folder = folder or loaded.playbooks
    if incidents is not None:
        # By name, as receiver may not import what stands on it.
        importlib.import_module("backtest.command").replay_saved(incidents, folder, approved)
        return
    try:
        model = load_shipped()
    except ModelError as error:
        raise FailedError(str(error)) from None
    report = runner.run(folder, load_playbooks(loaded, folder), partial(judge, model))
    if report.findings:
        raise FindingsError(report.findings)
    if not report.passed:
        raise FailedError(f"{folder / 'tests'}: there are no tests")
    echo(f"{report.passed} tests passed")


@click.command()
@click.argument("payload", required=False)
@click.option("--firing", is_flag=True, help="Take the alerts that Alertmanager has as active.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def explain(payload: str | None, *, firing: bool, as_json: bool) -> None:
    """Show the decision for each alert of a webhook body (a file, or - for stdin); never act."""
    loaded, now = load_settings(), time.time()
    # Failed reads are logged, because they explain a gate's "not confirmed".
    log_setup.configure("console", "warning")
    if firing == (payload is not None):
        raise BadInputError("name a file with a webhook body, or - for stdin, or --firing")
    try:
        if payload is None:
            active = alertmanager.connect(loaded).active_alerts()
            alerts = explaining.parse_active(active, now)
        else:
            body = sys.stdin.buffer.read() if payload == "-" else Path(payload).read_bytes()
            alerts = explaining.parse_delivery(body, now)
        decisions = explaining.explain(alerts, loaded, load_playbooks(loaded), now)
    except AlertmanagerError as error:
        raise FailedError(str(error)) from None
    except OSError as error:
        raise BadInputError(f"{payload}: {error.strerror}") from None
    except InvalidFilesError as error:
        raise FindingsError(error.findings) from None
    except (explaining.PayloadError, DatabaseUrlError) as error:
        raise BadInputError(f"{payload or 'the settings'}: {error}") from None
    except AWS_ERRORS as error:
        raise BadInputError(f"AWS clients cannot be created: {error}") from None
    if as_json:
        echo(json.dumps(decisions, indent=2))
    else:
        echo("\n\n".join(explaining.as_text(decision) for decision in decisions))


def load_settings() -> Settings:
    """Raises BadInputError."""
    try:
        return settings.load()
    except SettingsError as error:
        raise BadInputError(str(error)) from None


def load_rules(loaded: Settings) -> TargetRules:
    """Raises FindingsError."""
    try:
        return TargetRules.of(loaded)
    except InvalidFilesError as errors:
        raise FindingsError(errors.findings) from None


def load_accounts(loaded: Settings) -> Accounts:
    """Raises FindingsError."""
    try:
        return accounts_file.load(loaded.accounts)
    except InvalidFilesError as errors:
        raise FindingsError(errors.findings) from None


def load_playbooks(loaded: Settings, folder: Path | None = None) -> Playbooks:
    """Of the folder, or of that of the settings. Raises FindingsError."""
    try:
        return loader.load(folder or loaded.playbooks, loaded.node_job)
    except InvalidPlaybooksError as errors:
        raise FindingsError(errors.findings) from None
