"""`smartcloudops coverage`: which critical services would be remediated."""

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import click

from actions.aws import clients
from actions.aws.inventory import NotActionableError
from receiver import settings
from receiver.cli.audit import told_in_a_line
from receiver.controls import arming
from receiver.db.database import open_or_empty
from receiver.evidence.prometheus import Prometheus
from receiver.evidence.prometheus_answers import PrometheusError
from receiver.playbooks.loader import InvalidPlaybooksError, load
from receiver.reports.coverage import coverage, told
from receiver.settings import Settings

_PATIENCE_S = 30.0


@click.command("coverage")
@click.option("--critical", multiple=True, help="A group that counts as critical; the tagged else.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def coverage_command(critical: Sequence[str], *, as_json: bool) -> None:
    """Which critical services have a rule, a playbook, a mode that acts, and the opt-in tag."""
    with told_in_a_line():
        found = covered(settings.load(), critical)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for one in found["services"]:
        said = ", ".join(one["missing"]) or "covered"
        about = f"{len(one['rules'])} rules  {', '.join(one['playbooks']) or '-'}"
        click.echo(f"{one['name']}  {one['instances']} instances  {about}  {one['mode']}  {said}")
    share = found["covered_share"]
    percent = "unknown: there is no critical service" if share is None else f"{100 * share:.1f} %"
    click.echo(f"{found['covered']} of {found['critical']} critical services: {percent}")


def covered(loaded: Settings, critical: Sequence[str] = ()) -> dict[str, Any]:
    """What `receiver.coverage.told` says of these settings; ends the program with a line else."""
    try:
        playbooks = load(loaded.playbooks)
        with open_or_empty(loaded.database_url) as state, state.read() as connection:
            armings = arming.list_all(connection)
        with Prometheus(str(loaded.prometheus_url), timeout_s=_PATIENCE_S) as prometheus:
            found = coverage(
                clients.connect(),
                prometheus,
                playbooks,
                loaded.mode,
                armings,
                arming_required=loaded.arming_required,
                named=critical,
                now=time.time(),
            )
    except (PrometheusError, NotActionableError, InvalidPlaybooksError) as error:
        click.echo(f"smartcloudops: {error}", err=True)
        sys.exit(1)
    return told(found)
