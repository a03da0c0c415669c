"""`python -m bench.nezha FOLDER OUT`: a labelled set from pods into which others injected faults.

FOLDER has Nezha's data as published (IntelligentDDS/Nezha, MIT; Yu et al., "Nezha", ESEC/FSE 2023):
`rca_data/<day>/metric/*.csv` has a row a minute for each pod of two applications, Online Boutique
and Train Ticket, and `<day>-fault_list.json` says when a fault began in which pod. Of each
application there are two days, twelve hours apart: alerts are those of the second one, at which a
metric left the range of the first day's quiet hours. `smartcloudops evaluate OUT/<application>`
judges them. The hours between the days are unknown; here the quiet ones are repeated.
"""

import csv
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from bench.labelled_set import Recorded, alert, out_of_range, write_set

_DAYS = {
    "online-boutique": ("2022-08-22", "2022-08-23"),
    "train-ticket": ("2023-01-29", "2023-01-30"),
}
# By role: the column, and its value in the role's unit.
_COLUMNS = {
    "cpu_busy": ("CpuUsageRate(%)", 0.01),
    "memory_used_effective": ("MemoryUsage(Mi)", 2.0**20),
    "net_rx_bytes": ("NetworkReceiveBytes", 1.0),
    "net_tx_bytes": ("NetworkTransmitBytes", 1.0),
    "latency": ("PodServerLatencyP99(s)", 1.0),
}
_MINUTE_S = 60
# A fault lasts some minutes; a quarter of an hour after its beginning nobody can tell.
_FAULT_S, _AFTER_S, _APART_S = (30, 300), 900, 600


@dataclass(frozen=True)
class _Fault:
    pod: str
    kind: str
    at: int


@dataclass(frozen=True, kw_only=True)
class _Pod(Recorded):
    """Alerts are of the rows from `judged` on."""

    quiet: NDArray[np.bool_]
    judged: int


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def main(folder: Path, out: Path) -> None:
    """Write a labelled set for each application."""
    for application, days in _DAYS.items():
        faults = [fault for day in days for fault in _faults(folder, day)]
        pods = list(_pods(folder, days, max(f.at for f in faults if _day(f.at) == days[0])))
        alerts = [line for pod in pods for line in _alerts(pod, faults)]
        told = write_set(out / application, pods, alerts)
        click.echo(f"{application}: {len(pods)} pods, {told}")


def _day(at: int) -> str:
    return str(np.datetime64(at, "s"))[:10]


def _service(pod: str) -> str:
    """A pod's name without the parts that its replica set adds."""
    return pod.rsplit("-", 2)[0]


def _faults(folder: Path, day: str) -> Iterator[_Fault]:
    hours = json.loads((folder / "rca_data" / day / f"{day}-fault_list.json").read_text())
    for hour in hours.values():
        for fault in hour:
            at = int(fault["inject_timestamp"])
            yield _Fault(_service(fault["inject_pod"]), fault["inject_type"], at)


def _pods(folder: Path, days: Sequence[str], last_fault: int) -> Iterator[_Pod]:
    rows: defaultdict[str, list[Mapping[str, str]]] = defaultdict(list)
    for day in days:
        for path in sorted((folder / "rca_data" / day / "metric").glob("*-*-*_metric.csv")):
            with path.open() as file:
                # Some rows have a time of another day.
                rows[_service(path.name)] += (
                    row for row in csv.DictReader(file) if _day(int(row["TimeStamp"])) == day
                )
    for name, of_pod in rows.items():
        times = np.array([int(row["TimeStamp"]) for row in of_pod])
        order = np.argsort(times)
        times = times[order]
        start = int(times[0]) // _MINUTE_S * _MINUTE_S
        grid = np.arange(start, int(times[-1]) + _MINUTE_S, _MINUTE_S)
        known = {
            role: np.array([float(row.get(column) or "nan") * unit for row in of_pod])[order]
            for role, (column, unit) in _COLUMNS.items()
        }
        known = {role: v for role, v in known.items() if np.isfinite(v).mean() > 0.5}  # noqa: PLR2004 most
        values = np.column_stack(
            [np.interp(grid, times[(ok := np.isfinite(v))], v[ok]) for v in known.values()]
        )
        between = int(np.argmax(np.diff(times)))
        unknown = np.flatnonzero((grid > times[between]) & (grid < times[between + 1]))
        quiet = (grid > last_fault + _AFTER_S) & (grid <= times[between])
        values[unknown] = values[np.flatnonzero(quiet)[np.arange(len(unknown)) % quiet.sum()]]
        yield _Pod(
            name=name,
            roles=list(known),
            start=start,
            step_s=_MINUTE_S,
            values=values,
            quiet=quiet,
            judged=int(unknown[-1]) + 1,
        )


def _alerts(pod: _Pod, faults: Sequence[_Fault]) -> Iterator[Mapping[str, object]]:
    """Where a role is out of its quiet range for two minutes, and was not ten minutes before."""
    sides = out_of_range(pod.values, pod.values[pod.quiet])
    out = np.asarray(sides.any(axis=1))
    last, last_fault = -_APART_S, None
    for row in range(pod.judged + 1, len(pod.values)):
        at = pod.time(row)
        since = {fault: at - fault.at for fault in faults if 0 <= at - fault.at <= _AFTER_S}
        # The newest: the next fault of a pod may begin eight minutes later.
        of_pod = [fault for fault in since if fault.pod == pod.name]
        own = max(of_pod, key=lambda fault: fault.at, default=None)
        if own is not None and not _FAULT_S[0] <= since[own] <= _FAULT_S[1]:
            continue
        if not out[row] or (at - last < _APART_S and own in (None, last_fault)):
            last = at if out[row] else last
            continue
        last, last_fault = at, own
        kind = own.kind if own is not None else "victim" if since else "natural"
        yield alert(pod, row, sides, incident=own is not None, kind=kind)


if __name__ == "__main__":
    main()
