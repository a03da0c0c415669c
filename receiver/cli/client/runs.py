"""`smartcloudops runs` and `why`: the runs of a running service, and why they did what they did."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from receiver import settings
from receiver.cli.client.service import get_items
from receiver.cli.durations import Duration
from receiver.cli.error_translation import translate_errors
from receiver.cli.output import echo
from receiver.runs.model import State
from receiver.runtime.rfc3339 import rfc3339

_SEARCHED = 2000
_SHOWN = 5

_Run = Mapping[str, Any]


@click.command("runs")
@click.option("--state", type=click.Choice([str(state) for state in State]))
@click.option("--target", help="An instance id or a group's name.")
@click.option("--since", type=Duration(), default="24h", show_default=True)
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def runs_command(
    *,
    state: str | None,
    target: str | None,
    since: float,
    limit: int,
    as_json: bool,
) -> None:
    """List runs, newest first, as the service at SMARTCLOUDOPS_URL says."""
    with translate_errors():
        found = get_items(
            settings.load(),
            "/api/v1/runs",
            most=limit,
            state=state,
            target=target,
            since=rfc3339(time.time() - since),
            limit=min(limit, 200),
        )
    if as_json:
        echo(json.dumps(found, indent=2))
        return
    for run in found:
        echo(_line(run))
    if not found:
        echo("no runs")


@click.command("why")
@click.argument("host")
@click.option("--since", type=Duration(), default="24h", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def why_command(*, host: str, since: float, as_json: bool) -> None:
    """Tell what was done about HOST, and why not more.

    HOST is an instance id or its beginning, a group, an address, or any other value of an alert's
    label.
    """
    with translate_errors():
        after = rfc3339(time.time() - since)
        found = get_items(settings.load(), "/api/v1/runs", most=_SEARCHED, since=after, limit=200)
    about = [run for run in found if _is_about(run, host)][:_SHOWN]
    if as_json:
        echo(json.dumps(about, indent=2))
        return
    for run in about:
        echo(_line(run))
        for line in _reasons(run):
            echo(f"    {line}")
    if not about:
        echo(f"no run of the last {since / 3600:g} hours is about {host}")


def _is_about(run: _Run, host: str) -> bool:
    values: Sequence[str] = [*run["alert"]["labels"].values()]
    named = [value for value in (run["target"], run["group"], *values) if value]
    # An exporter's address has a port.
    return any(
        value == host or value.startswith(f"{host}:") or _begins(value, host) for value in named
    )


def _begins(value: str, host: str) -> bool:
    return host.startswith("i-") and value.startswith(host)


def _line(run: _Run) -> str:
    what = run["alert"]["labels"].get("alertname") or "by hand"
    ended = f"{run['state']} {run['refusal'] or ''}".strip()
    return f"{run['received_at']}  {run['id']}  {what}  {run['target'] or '-'}  {ended}"


def _reasons(run: _Run) -> Iterator[str]:
    """What stopped it, what was done, and what comes next."""
    stopped = [gate for gate in run["gates"] if not gate["passed"]]
    for gate in stopped:
        waits = run["state"] == str(State.AWAITING_APPROVAL)
        yield f"{'waits' if waits else 'stopped'} at {gate['name']}: {gate['detail']}"
        if gate["name"] == "verdict":
            yield from (f"  {reason['text']}" for reason in run["verdict"]["contributions"])
    for step in run["steps"]:
        result = step["result"] or step["outcome"] or "under way"
        yield f"{step['action']} on {step['target']}: {result}{_told(step['error'])}"
    if run["outcome"] and not stopped:
        yield run["outcome"]
    if run["next_act_at"]:
        yield f"may act again at {run['next_act_at']}"


def _told(error: str | None) -> str:
    return f" ({error})" if error else ""
