"""Failures of a command: one line on stderr, exit 2 for bad input, 1 for a failed check."""

from collections.abc import Iterable
from typing import IO, Any

import click

from receiver.cli.output import echo

FAILED, BAD_INPUT = 1, 2


class FailedError(click.ClickException):
    """A check failed, or a service that the command needs failed."""

    exit_code = FAILED

    def show(self, file: IO[Any] | None = None) -> None:
        del file
        show_line(self.format_message())


class BadInputError(FailedError):
    """An argument, a setting or a file cannot be used."""

    exit_code = BAD_INPUT


class FindingsError(FailedError):
    """A check has findings; each is printed as a line of its own."""

    def __init__(self, findings: Iterable[object]) -> None:
        self.findings = [str(finding) for finding in findings]
        super().__init__("\n".join(self.findings))

    def show(self, file: IO[Any] | None = None) -> None:
        del file
        for finding in self.findings:
            echo(finding, err=True)


def show_line(message: str) -> None:
    """Print an error on stderr as one line."""
    echo("smartcloudops: " + message.replace("\n", " "), err=True)
