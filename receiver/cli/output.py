"""The commands' output: it may contain text of an alert, so control characters are escaped."""

import click

from receiver.runtime.printable import printable


def echo(text: object, *, err: bool = False) -> None:
    """Print a line on stdout, or on stderr, with control characters escaped."""
    click.echo(printable(str(text)), err=err)


def echo_progress(text: str) -> None:
    """Overwrite the line on stderr; `text` must not contain text of an alert."""
    click.echo(f"\r{text}", nl=False, err=True)
