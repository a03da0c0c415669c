"""The console script: errors are one line on stderr, exit 2 for bad input, 1 for a failed check."""

import gc
import importlib
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NoReturn

import click

_FAILED, _BAD_INPUT = 1, 2
# Where each command is. What one of them needs may take seconds to load, and is, when it is asked
# for.
_COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "audit": ("receiver.cli.audit", "audit_group"),
        "check": ("receiver.cli.playbooks", "check"),
        "coverage": ("receiver.cli.coverage", "coverage_command"),
        "evaluate": ("receiver.cli.model", "evaluate"),
        "explain": ("receiver.cli.playbooks", "explain"),
        "iam-policy": ("receiver.cli.playbooks", "iam_policy"),
        "report": ("receiver.cli.report", "report_command"),
        "serve": ("receiver.cli.serve", "serve"),
        "test": ("receiver.cli.playbooks", "test_playbooks"),
        "token": ("receiver.cli.tokens", "token"),
        "train": ("receiver.cli.model", "train"),
    }
)


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_COMMANDS])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, name = _COMMANDS[cmd_name]
        # What is loaded stays: looking for garbage among it is a fifth of the time that it takes.
        gc.disable()
        found: click.Command = getattr(importlib.import_module(module), name)
        gc.freeze()
        gc.enable()
        return found


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="smartcloudops", message="%(prog)s %(version)s")
def cli() -> None:
    """Remediate Prometheus alerts on AWS: re-checked, guarded, effectively once, audited."""


@cli.command()
@click.option("--once", is_flag=True, help="End after the scripted incidents.")
def demo(*, once: bool) -> None:
    """Break a real chain on this machine and watch it heal."""
    try:
        # By name: production installs none of its dependencies, and receiver stands below demo.
        driver = importlib.import_module("demo.driver")
    except ImportError as error:
        _fail(f"the demo is not installed ({error.name}): pip install 'smartcloudops[demo]'", 1)
    sys.exit(driver.run(once=once))


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"smartcloudops: {message}", err=True)
    sys.exit(code)


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; a usage error is one line, too."""
    try:
        return cli.main(arguments, prog_name="smartcloudops", standalone_mode=False)
    except click.ClickException as error:
        _fail(error.format_message().replace("\n", " "), _BAD_INPUT)
    except click.Abort:
        sys.exit(130)
