"""The one way of the commands to a terminal: what they print may hold text of an alert."""

import click

from receiver.runtime.printable import printable


def echo(text: object, *, err: bool = False) -> None:
    """Print a line on stdout, or on stderr, with control characters escaped."""
    click.echo(printable(str(text)), err=err)


def echo_progress(text: str) -> None:
    """Overwrite the line on stderr with a text of our own."""
    click.echo(f"\r{text}", nl=False, err=True)
