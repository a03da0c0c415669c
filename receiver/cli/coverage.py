"""`smartcloudops coverage`: which critical services would be remediated."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click

from actions.aws import clients
from actions.aws.target_errors import NotActionableError
from actions.place import HOME
from receiver import settings
from receiver.cli.error_translation import translate_errors
from receiver.cli.errors import FailedError
from receiver.cli.output import echo
from receiver.controls import arming
from receiver.db.database import open_or_empty
from receiver.evidence.accounts.file import load as load_accounts
from receiver.evidence.prometheus.answers import PrometheusError
from receiver.evidence.prometheus.connect import connect
from receiver.evidence.targets.rules import TargetRules
from receiver.playbooks.loader import InvalidFilesError, load
from receiver.reports.coverage import Policy, Service, coverage_json, find_coverage
from receiver.settings import Settings

_TIMEOUT_S = 30.0


@click.command("coverage")
@click.option(
    "--critical",
    multiple=True,
    help="A group to treat as critical, instead of the tagged ones; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def coverage_command(critical: Sequence[str], *, as_json: bool) -> None:
    """Show which critical services have a rule, a playbook, a mode that acts and the opt-in tag."""
    with translate_errors():
        result = coverage_of(settings.load(), critical)
    if as_json:
        echo(json.dumps(result, indent=2))
        return
    for service in result["services"]:
        echo(
            f"{service['name']}  {service['instances']} instances  {len(service['rules'])} rules  "
            f"{', '.join(service['playbooks']) or '-'}  {service['mode']}  "
            f"{', '.join(service['missing']) or 'covered'}"
        )
    share = result["covered_share"]
    percent = "unknown: there is no critical service" if share is None else f"{100 * share:.1f} %"
    echo(f"{result['covered']} of {result['critical']} critical services: {percent}")


def coverage_of(loaded: Settings, critical: Sequence[str] = ()) -> dict[str, Any]:
    """The coverage of these settings, as JSON values. Raises FailedError."""
    try:
        playbooks = load(loaded.playbooks, loaded.node_job)
        with open_or_empty(loaded.database_url) as state, state.read() as connection:
            armings = arming.list_all(connection)
        policy = Policy(
            playbooks=playbooks,
            mode=loaded.mode,
            armings=armings,
            arming_required=loaded.arming_required,
        )
        accounts, mapping = load_accounts(loaded.accounts), TargetRules.of(loaded).mapping
        aws_at = clients.PlaceClients(clients.connect(), accounts.accesses).at
        services = list[Service]()
        with connect(loaded, timeout_s=_TIMEOUT_S) as prometheus:
            for place in accounts.places:
                here = replace(
                    policy,
                    place=place,
                    place_mode=accounts.mode_at(place),
                    where=mapping.series_at(place) if place != HOME else "",
                )
                services += find_coverage(
                    aws_at(place), prometheus, here, named=critical, now=time.time()
                )
    except (PrometheusError, NotActionableError, InvalidFilesError) as error:
        raise FailedError(str(error)) from None
    return coverage_json(services)
