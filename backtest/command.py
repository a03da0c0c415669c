"""`smartcloudops backtest`, and the replay of kept incidents for `smartcloudops test`."""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict, Unpack

import click
import httpx

from actions.aws import clients
from actions.aws.client_set import Aws
from actions.aws.errors import AWS_ERRORS
from backtest import report, saved
from backtest.decisions import differences
from backtest.incidents import Period
from backtest.past_prometheus import Answers
from backtest.rule_replay import Rule, RuleFileError, load_rules
from backtest.saved import SavedError
from backtest.session import Session, live_clients
from receiver.cli.durations import Duration
from receiver.cli.errors import BadInputError, FailedError, FindingsError
from receiver.cli.output import echo, echo_progress
from receiver.cli.playbooks import load_playbooks, load_settings
from receiver.db.database import DatabaseUrlError, open_or_empty
from receiver.evidence.prometheus.answers import PrometheusError
from receiver.playbooks.loader import InvalidFilesError
from receiver.runtime import log_setup
from receiver.settings import Settings

_FILE = click.Path(path_type=Path)


class _Options(TypedDict):
    since: float
    playbooks: Path | None
    rules: Path | None
    targets: Path | None
    per_s: float
    save: Path | None
    out: Path | None
    as_json: bool
    aws: bool


@click.command("backtest")
@click.option(
    "--since",
    default="30d",
    show_default=True,
    type=Duration(),
    help="Length of the period up to now, such as 30d or 12h.",
)
@click.option("--playbooks", type=_FILE, help="A folder of playbooks, for that of the settings.")
@click.option("--rules", type=_FILE, help="A file of alert rules to play, for what fired.")
@click.option("--targets", type=_FILE, help="A file of targets, for that of the settings.")
@click.option(
    "--max-queries-per-second",
    "per_s",
    default=20.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="The most queries that Prometheus is asked in a second.",
)
@click.option(
    "--save", type=_FILE, help="Keep the incidents in this folder; go on there if it was cut off."
)
@click.option("--out", type=_FILE, help="Write the report to this HTML file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option(
    "--aws/--no-aws",
    default=True,
    show_default=True,
    help="Read CloudTrail, and the groups as they are today.",
)
def backtest_command(**options: Unpack[_Options]) -> None:
    """Show what would have been done about the alerts of the past; reads Prometheus alone."""
    loaded = load_settings()
    log_setup.configure("console", "error")
    if options["targets"]:
        loaded = loaded.model_copy(update={"targets": options["targets"]})
    playbooks = load_playbooks(loaded, options["playbooks"])
    until, folder = float(time.time() // 60 * 60), options["save"]
    period = Period(since=until - options["since"], until=until)
    answers = Answers()
    if folder is not None:
        period, answers = saved.begin(folder, period), saved.answers_in(folder)
    session = Session(
        settings=loaded,
        playbooks=playbooks,
        period=period,
        answers=answers,
        live=_live(loaded),
        rules=_rules(options["rules"]),
        aws=_connect() if options["aws"] else None,
        per_s=options["per_s"],
        progress=_progress,
    )
    try:
        with open_or_empty(loaded.database_url) as records:
            session.records = records
            result = session.run()
    except InvalidFilesError as error:
        raise FindingsError(error.findings) from None
    except DatabaseUrlError as error:
        raise BadInputError(str(error)) from None
    except PrometheusError as error:
        raise FailedError(f"Prometheus: {error}") from None
    click.echo("", err=True)
    if folder is not None:
        saved.save(folder, result, session.changes, session.known)
    if options["out"] is not None:
        options["out"].write_text(report.as_html(result), encoding="utf-8")
    if options["as_json"]:
        echo(json.dumps(report.as_json(result), indent=2))
    else:
        for line in report.as_text(result):
            echo(line)


def replay_saved(folder: Path, playbooks: Path, approved: Path | None) -> None:
    """Decide on the kept incidents again, and print what is decided otherwise.

    `approved` has lines of differences that may be. Raises FailedError where another one is there.
    """
    loaded = load_settings()
    log_setup.configure("console", "critical")
    try:
        kept = saved.load(folder)
        allowed = set(approved.read_text().splitlines()) if approved else set[str]()
    except SavedError as error:
        raise BadInputError(str(error)) from None
    except OSError as error:
        raise BadInputError(f"{approved}: {error.strerror}") from None
    session = Session(
        settings=loaded,
        playbooks=load_playbooks(loaded, playbooks),
        period=kept.period,
        answers=saved.answers_in(folder),
        changes=kept.changes,
        known=kept.known,
        trail=kept.trail,
    )
    result = session.run(kept.incidents)
    found = differences(kept.decisions, result.decisions)
    for line in found:
        echo(f"{line}{' (approved)' if line in allowed else ''}")
    if missing := result.cost["missing"]:
        echo(f"{missing:.0f} queries have no kept answer, so they are unknown", err=True)
    open_ones = [line for line in found if line not in allowed]
    if open_ones:
        raise FailedError(f"{len(open_ones)} decisions differ, and are not approved")
    echo(f"{len(kept.incidents)} incidents, {len(result.decisions)} decisions, no new difference")


def _live(loaded: Settings) -> Mapping[str, httpx.Client]:
    try:
        return live_clients(loaded)
    except InvalidFilesError as error:
        raise FindingsError(error.findings) from None


def _rules(file: Path | None) -> Sequence[Rule]:
    try:
        return load_rules(file) if file else ()
    except RuleFileError as error:
        raise BadInputError(str(error)) from None


def _connect() -> Aws | None:
    """None where no clients can be made, for lack of a region, say."""
    try:
        return clients.connect()
    except AWS_ERRORS:
        return None


def _progress(what: str, done: int, total: int) -> None:
    echo_progress(f"{what}: {done} of {total}   ")
