"""`make bench`: prints a table of all figures, and writes `build/bench.json`."""

import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import click

from bench.load.ack_latency import measure_acks
from bench.load.recheck_cost import measure_recheck
from bench.load.record_growth import measure_growth
from bench.load.storm import measure_storm
from bench.load.webhook_to_aws import webhook_to_aws

_OUT, _PAGE = Path("build/bench.json"), Path("build/bench.md")
_DATABASES = ("sqlite", "postgres")
# The figures that the file always has; null if one could not be measured.
_NAMED = (
    "ack_ratio_sqlite_c1",
    "ack_ratio_sqlite_c32",
    "ack_ratio_sqlite_c200",
    "ack_ratio_postgres_c1",
    "ack_ratio_postgres_c32",
    "ack_p99_ratio_sqlite_c32",
    "webhook_to_aws_overhead_ms_p50",
    "webhook_to_aws_reads_free_ms_p50",
    "recheck_cpu_ms_p95",
    "storm_acked",
    "storm_lost",
    "storm_decisions_per_s",
    "rss_idle_mb",
    "rss_peak_mb",
    "ready_s",
)


def main() -> int:
    """Measure all figures. Returns 0 if every figure was measured."""
    unrelated = Path(tempfile.mkdtemp(prefix="bench-"))
    (unrelated / "none.yaml").write_text(
        "name: none\nmatch: ['alertname=\"Other\"']\nsteps: [{action: reboot_instance}]\n"
        "verify: {expr: up, for: 0s, timeout: 60s}\n"
    )
    parts: Mapping[str, Callable[[Path], Mapping[str, float]]] = {
        "re-check": lambda _: measure_recheck(),
        "acknowledgements": lambda folder: measure_acks(folder, playbooks=unrelated),
        "storm": lambda folder: measure_storm(folder, playbooks=unrelated),
        "growth": measure_growth,
        "webhook to AWS": webhook_to_aws,
    }
    figures: dict[str, float | None] = dict.fromkeys(_NAMED)
    failed = False
    for name, measure in parts.items():
        click.echo(f"measuring: {name}", err=True)
        folder = Path(tempfile.mkdtemp(prefix="bench-"))
        try:
            figures |= measure(folder)
        except Exception as error:  # noqa: BLE001 measure the remaining figures
            click.echo(f"{name}: {type(error).__name__}: {error}", err=True)
            failed = True
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(unrelated)
    _OUT.parent.mkdir(exist_ok=True)
    _OUT.write_text(json.dumps(figures, indent=2) + "\n")
    page = "\n\n".join([_table(figures), *_plots(figures)])
    _PAGE.write_text(page + "\n")
    click.echo(page)
    return int(failed)


def _table(figures: Mapping[str, float | None]) -> str:
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    lines = [
        f"{machine}, Python {platform.python_version()}",
        "",
        "| figure | value |",
        "|---|---|",
    ]
    for name, value in figures.items():
        lines.append(f"| `{name}` | {'-' if value is None else f'{value:.4g}'} |")
    return "\n".join(lines)


def _plots(figures: Mapping[str, float | None]) -> Iterator[str]:
    """Bar charts in Mermaid for the page on performance."""
    yield _bars(
        "Acks a second against the baseline, by connections",
        "share of the baseline's",
        {
            f"{db} {c}": figures.get(f"ack_ratio_{db}_c{c}")
            for db in _DATABASES
            for c in (1, 32, 200)
        },
    )
    yield _bars(
        "CPU of a decision, by stored runs and by playbooks",
        "milliseconds",
        {
            name: figures.get(f"decision_cpu_ms_{key}")
            for name, key in (
                ("1 k runs", "runs_1000"),
                ("100 k runs", "runs_100000"),
                ("1 M runs", "runs_1000000"),
                ("10 playbooks", "playbooks_10"),
                ("1,000 playbooks", "playbooks_1000"),
            )
        },
    )


def _bars(title: str, unit: str, values: Mapping[str, float | None]) -> str:
    known = {name: value for name, value in values.items() if value is not None}
    names = ", ".join(f'"{name}"' for name in known)
    heights = ", ".join(f"{value:.3g}" for value in known.values())
    most = max(known.values(), default=1.0) * 1.1
    lines = [
        "```mermaid",
        "xychart-beta",
        f'  title "{title}"',
        f"  x-axis [{names}]",
        f'  y-axis "{unit}" 0 --> {most:.3g}',
        f"  bar [{heights}]",
        "```",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
