"""Control characters in text that others chose reach no terminal."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from receiver.runtime.printable import printable

_ROOT = Path(__file__).parents[2]
_HOSTILE = "\x1b[2Jup\x07 \x9b31m \u202egnp.exe \u2028 \ud800 \r\x7f"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("größer als 5 %\u00a0→ 日本", "größer als 5 %\u00a0→ 日本"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        (
            _HOSTILE,
            r"\x1b[2Jup\x07 \x9b31m \u202egnp.exe \u2028 \ud800 \r\x7f",
        ),
    ],
)
def test_controls_are_escaped(text: str, shown: str) -> None:
    """Letters, spaces and line feeds stay."""
    assert printable(text) == shown


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_log_line_holds_no_controls(form: str) -> None:
    """And stays one line, also in the form for a terminal."""
    script = f"""
import logging, structlog
from receiver.runtime.log_setup import configure
configure({form!r}, "info")
text = {_HOSTILE!r} + "\\nforged line"
structlog.get_logger().warning("event " + text, value=text, more={{"key": [text]}})
logging.getLogger("other").warning("foreign %s", text)
"""
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, timeout=60
    )
    lines = result.stderr.decode().splitlines()
    assert len(lines) == 2, lines
    assert all(line.isprintable() for line in lines), lines


def test_commands_print_in_one_way() -> None:
    """What they print may hold text of an alert, so nothing but `echo` prints."""
    printing = [
        f"{file.relative_to(_ROOT)}:{node.lineno}"
        for folder in ("receiver", "actions", "models")
        for file in sorted((_ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in {"print", "click.echo", "click.secho", "sys.stdout.write"}
    ]
    assert {place.partition(":")[0] for place in printing} == {"receiver/cli/output.py"}
