"""`smartcloudops status`: how a running service is, and what waits for people."""

import json

import click

from receiver import settings
from receiver.cli.client.service import get, get_items
from receiver.cli.error_translation import translate_errors
from receiver.cli.errors import FailedError
from receiver.cli.output import echo

# Beyond this many it is enough to know that there are many.
_COUNTED = 200
_IN_FLIGHT = ("acting", "verifying", "rolling_back")


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
def status_command(*, as_json: bool) -> None:
    """Tell how the service at SMARTCLOUDOPS_URL is; exit 1 where it is not ready."""
    with translate_errors():
        configured = settings.load()
        health = get(configured, "/readyz", ill=True)

        def count(path: str, **asked: str) -> int:
            return len(get_items(configured, path, most=_COUNTED, limit=_COUNTED, **asked))

        told = {
            "ready": health["ready"],
            "checks": health["checks"],
            "awaiting_approval": count("/api/v1/runs", state="awaiting_approval"),
            "in_flight": sum(count("/api/v1/runs", state=state) for state in _IN_FLIGHT),
            "overrides": count("/api/v1/overrides"),
            "debts": count("/api/v1/debts"),
        }
        if as_json:
            echo(json.dumps(told, indent=2))
        else:
            for name, answer in health["checks"].items():
                echo(f"{name:<18} {answer}")
            for name in ("awaiting_approval", "in_flight", "overrides", "debts"):
                echo(f"{name.replace('_', ' '):<18} {told[name]}")
        if not health["ready"]:
            raise FailedError(f"{configured.url} is not ready")
