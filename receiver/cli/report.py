"""`smartcloudops report`: incidents, actions, approvals and figures of a period."""

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypedDict, Unpack

import click

from actions.audit import log
from actions.aws import clients
from receiver import settings
from receiver.audit import head_signer
from receiver.cli.coverage import coverage_of
from receiver.cli.durations import Duration
from receiver.cli.error_translation import translate_errors
from receiver.cli.output import echo
from receiver.cli.reconciliation import reconcile_ledger, reconciliation_json
from receiver.db.database import database
from receiver.evidence.prometheus.client import Prometheus
from receiver.evidence.prometheus.connect import connect
from receiver.reports.figures import availability
from receiver.reports.render import csv_text, html
from receiver.reports.report import ReportInput, make_report, query_number
from receiver.settings import Settings

_FORMATS: dict[str, Callable[[dict[str, Any]], str]] = {
    "html": html,
    "json": partial(json.dumps, indent=2),
    "csv": csv_text,
}
_TIMEOUT_S = 30.0


class _Options(TypedDict):
    since: float
    form: str
    out: Path | None
    manual_minutes: float | None
    price: float | None
    reconcile: bool
    files: Sequence[Path]
    coverage: bool


@click.command("report")
@click.option(
    "--since",
    default="30d",
    show_default=True,
    type=Duration(),
    help="Length of the period, such as 30d or 12h.",
)
@click.option("--format", "form", default="html", show_default=True, type=click.Choice([*_FORMATS]))
@click.option(
    "--out", type=click.Path(path_type=Path), help="Write to this file instead of standard output."
)
@click.option(
    "--manual-minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Minutes that a manual recovery took, for comparison.",
)
@click.option("--price", type=click.FloatRange(min=0), help="Price of an instance-hour.")
@click.option("--reconcile", is_flag=True, help="Add the comparison of the ledger with CloudTrail.")
@click.option(
    "--events",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="CloudTrail's files, as for `audit reconcile --events`.",
)
@click.option("--coverage", is_flag=True, help="Add the coverage, from Prometheus and AWS.")
def report_command(**options: Unpack[_Options]) -> None:
    """Report incidents, actions, approvals, and success figures with their definitions."""
    with translate_errors():
        loaded, now = settings.load(), time.time()
        since = now - options["since"]
        state = database(loaded.database_url)
        heads = head_signer.signed_hashes(loaded, clients.connect)
        reconciliation = None
        if options["reconcile"] or options["files"]:
            result = reconcile_ledger(loaded, options["files"], (), since=since, now=now)
            reconciliation = reconciliation_json(result)
        with _prometheus(loaded) as prometheus:
            query = partial(query_number, prometheus, now)
            available = availability(query, options["since"])
        coverage = coverage_of(loaded) if options["coverage"] else None
        with state.read() as connection:
            inputs = ReportInput(
                since=since,
                until=now,
                manual_minutes=options["manual_minutes"],
                price=options["price"],
                availability=available,
                reconciliation=reconciliation,
                coverage=coverage,
                verification=log.verify(connection, heads),
            )
            text = _FORMATS[options["form"]](make_report(connection, inputs))
        if options["out"] is None:
            echo(text)
        else:
            options["out"].write_text(text, encoding="utf-8", newline="")


def _prometheus(loaded: Settings) -> Prometheus:
    return connect(loaded, timeout_s=_TIMEOUT_S)
