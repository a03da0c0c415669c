"""Measures fleets of growing size and writes build/scale.json: `make bench-scale`."""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from bench.scale.fleet import FLEETS
from bench.scale.measure import measure_fleet
from bench.scale.receiver import dump, running
from demo.stack import postgres
from demo.stack.processes import Processes

_OUT = Path("build/scale.json")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", type=int, nargs="*", default=[*FLEETS])
    figures: list[Mapping[str, Any]] = []
    for size in parser.parse_args().sizes:
        click.echo(f"measuring {size} instances", err=True)
        with tempfile.TemporaryDirectory(prefix="scale-") as name:
            folder = Path(name)
            with (
                Processes(folder / "logs") as processes,
                postgres.running(processes) as database,
                running(processes, database, FLEETS[size], folder) as stack,
            ):
                figures.append(measure_fleet(stack))
        dump(_OUT, figures)
    click.echo(_table(figures))
    return 0


def _table(figures: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        f"| `{name}` | {' | '.join(_shown(fleet[name]) for fleet in figures)} |"
        for name in figures[0]
    ]
    head = " | ".join(f"{fleet['instances']:,}" for fleet in figures)
    return "\n".join([f"| instances | {head} |", "|---" * (len(figures) + 1) + "|", *rows])


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {count:g}" for name, count in sorted(value.items()))
    return "-" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())
