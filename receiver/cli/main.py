"""The console script: errors are one line on stderr, exit 2 for bad input, 1 for a failed check."""

import gc
import importlib
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import click

from receiver.cli.errors import BAD_INPUT, FailedError, show_line

# The module of each command. Imports may take seconds, so a module is loaded at the call.
_COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "approve": ("receiver.cli.client.controls", "approve_command"),
        "audit": ("receiver.cli.audit", "audit_group"),
        # By name, as receiver may not import what stands on it.
        "backtest": ("backtest.command", "backtest_command"),
        "check": ("receiver.cli.playbooks", "check"),
        "coverage": ("receiver.cli.coverage", "coverage_command"),
        "debts": ("receiver.cli.client.debts", "debts_command"),
        "evaluate": ("receiver.cli.model", "evaluate"),
        "explain": ("receiver.cli.playbooks", "explain"),
        "hold": ("receiver.cli.client.controls", "hold_command"),
        "iam-policy": ("receiver.cli.iam.command", "iam_policy"),
        "pause": ("receiver.cli.client.controls", "pause_command"),
        "report": ("receiver.cli.report", "report_command"),
        "resume": ("receiver.cli.client.controls", "resume_command"),
        "rules": ("receiver.cli.rules.command", "rules_command"),
        "runs": ("receiver.cli.client.runs", "runs_command"),
        "serve": ("receiver.cli.serve", "serve"),
        "status": ("receiver.cli.client.status", "status_command"),
        "test": ("receiver.cli.playbooks", "test_playbooks"),
        "sns": ("receiver.cli.client.sns", "sns_group"),
        "token": ("receiver.cli.tokens", "token"),
        "train": ("receiver.cli.model", "train"),
        "why": ("receiver.cli.client.runs", "why_command"),
    }
)


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_COMMANDS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, name = _COMMANDS[cmd_name]
        # Garbage collection while modules load takes a fifth of the time and frees nothing.
        gc.disable()
        command: click.Command = getattr(importlib.import_module(module), name)
        gc.freeze()
        gc.enable()
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="smartcloudops", message="%(prog)s %(version)s")
def cli() -> None:
    """Remediate Prometheus alerts on AWS: re-checked, guarded, effectively once, audited."""


@cli.command()
@click.option("--once", is_flag=True, help="Exit after the scripted incidents.")
@click.option(
    "--fleet",
    type=click.Choice(["simulated", "machines"]),
    help="Real Linux machines, the default where they start (x86-64 Linux), or simulated ones.",
)
@click.option("--incidents", default="", help="Only these faults of the script, by commas.")
def demo(*, once: bool, fleet: str | None, incidents: str) -> None:
    """Break a real chain on this machine and watch it heal."""
    try:
        # Imported by name, because production lacks its packages, and receiver may not import demo.
        driver = importlib.import_module("demo.driver")
    except ImportError as error:
        hint = "pip install 'smartcloudops[demo]'"
        raise FailedError(f"the demo is not installed ({error.name}): {hint}") from None
    only = [name for name in incidents.split(",") if name]
    sys.exit(driver.run(once=once, fleet=fleet, only=only))


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; every error, usage errors included, is one line and an exit status."""
    try:
        return cli.main(arguments, prog_name="smartcloudops", standalone_mode=False)
    except FailedError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.ClickException as error:
        show_line(error.format_message())
        sys.exit(BAD_INPUT)
    except click.Abort:
        sys.exit(130)
