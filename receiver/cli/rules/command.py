"""`smartcloudops rules`: prints rules for Prometheus."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from receiver.cli.errors import BadInputError
from receiver.cli.output import echo
from receiver.cli.rules.adapt import join
from receiver.durations import parse_duration

# By name: those `service-from-…` record the metrics of `service` from others.
_FILES = {
    **{name: name for name in ("node", "host", "service", "model", "remediator")},
    **{f"service-from-{name}": f"service_from/{name}" for name in ("http", "probe", "alb")},
}
_JOB = re.compile(r"[A-Za-z0-9_./ -]{1,128}")
_LEAST_S, _MOST_S = 1, 300


@click.command("rules")
@click.argument("names", nargs=-1, type=click.Choice([*_FILES]))
@click.option("--scrape", default="5s", show_default=True, help="The shop's scrape_interval.")
@click.option("--job", default="node", show_default=True, help="The job of its node_exporter.")
def rules_command(names: Sequence[str], scrape: str, job: str) -> None:
    """Print the alert rules as one file; without NAMES, those on node_exporter's metrics."""
    try:
        scrape_s = parse_duration(scrape)
    except ValueError as error:
        raise BadInputError(str(error)) from None
    if not _LEAST_S <= scrape_s <= _MOST_S:
        raise BadInputError(f"--scrape {scrape}: not between {_LEAST_S}s and {_MOST_S}s")
    if not _JOB.fullmatch(job):
        raise BadInputError(f"--job {job!r}: a quote or a backslash is in no job's name")
    files = [_FILES[name] for name in names or ("node",)]
    try:
        text = join(_folder(), files, scrape_s=scrape_s, job=job)
    except OSError as error:
        raise BadInputError(f"{error.filename}: {error.strerror}") from None
    echo(text.rstrip("\n"))


def _folder() -> Path:
    """The shipped rules: of the checkout, or of the environment that the wheel is installed in."""
    own = Path(__file__).parents[3] / "prometheus_rules"
    return own if own.is_dir() else Path(sys.prefix) / "share/smartcloudops/prometheus_rules"
