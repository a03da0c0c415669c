"""`smartcloudops report`: what happened, for people and for whoever audits them."""

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from actions.audit import log
from actions.aws import clients
from receiver import settings
from receiver.audit import head_signer
from receiver.cli.audit import reconciled, reconciliation_told, told_in_a_line
from receiver.cli.coverage import covered
from receiver.cli.durations import Duration
from receiver.db.database import database
from receiver.evidence.prometheus import Prometheus
from receiver.reports.figures import availability
from receiver.reports.render import csv_text, html
from receiver.reports.report import Asked, ask, report
from receiver.settings import Settings

_FORMATS: dict[str, Callable[[dict[str, Any]], str]] = {
    "html": html,
    "json": partial(json.dumps, indent=2),
    "csv": csv_text,
}
_PATIENCE_S = 30.0


@click.command("report")
@click.option("--since", default="30d", show_default=True, type=Duration(), help="As 30d or 12h.")
@click.option("--format", "form", default="html", show_default=True, type=click.Choice([*_FORMATS]))
@click.option("--out", type=click.Path(path_type=Path), help="A file; standard output else.")
@click.option(
    "--manual-minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="How long a recovery took by hand, to compare with.",
)
@click.option("--price", type=click.FloatRange(min=0), help="Of an instance-hour.")
@click.option("--reconcile", is_flag=True, help="Compare the ledger with CloudTrail, too.")
@click.option(
    "--events",
    "files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Files in place of CloudTrail, as for audit reconcile.",
)
@click.option("--coverage", is_flag=True, help="Ask Prometheus and AWS for the coverage, too.")
def report_command(  # noqa: PLR0913 an option each
    *,
    since: float,
    form: str,
    out: Path | None,
    manual_minutes: float | None,
    price: float | None,
    reconcile: bool,
    files: Sequence[Path],
    coverage: bool,
) -> None:
    """Incidents, actions, approvals, and the figures of success, each with its definition."""
    with told_in_a_line():
        loaded, now = settings.load(), time.time()
        state = database(loaded.database_url)
        known = head_signer.signed_hashes(loaded, clients.connect)
        compared = None
        if reconcile or files:
            found = reconciled(loaded, files, (), since=now - since, now=now)
            compared = reconciliation_told(found)
        with _prometheus(loaded) as prometheus:
            available = availability(partial(ask, prometheus, now), since)
        around = covered(loaded) if coverage else None
        with state.read() as connection:
            asked = Asked(
                since=now - since,
                until=now,
                manual_minutes=manual_minutes,
                price=price,
                availability=available,
                reconciliation=compared,
                coverage=around,
                verification=log.verify(connection, known),
            )
            text = _FORMATS[form](report(connection, asked))
        if out is None:
            click.echo(text)
        else:
            out.write_text(text, encoding="utf-8", newline="")


def _prometheus(loaded: Settings) -> Prometheus:
    return Prometheus(str(loaded.prometheus_url), timeout_s=_PATIENCE_S)
