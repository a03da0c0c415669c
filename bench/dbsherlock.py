"""`python -m bench.dbsherlock FILE OUT`: a labelled set from a database server that others broke.

FILE is `dbsherlock_dataset_tpcc_16w.mat` as published (dongyoungy/dbsherlock-reproducibility,
without a licence; Yoon et al., "DBSherlock", SIGMOD 2016): 110 runs of two to three minutes of
MySQL under TPC-C on a virtual machine, with a row a second, each with one disturbance of ten kinds
for 30 to 80 seconds. Six are faults; a backup, a restore, a flush and a surge of load are harmless.
An alert is the moment at which a metric has been out of the range of the other runs' quiet seconds
for two rows of five seconds: the first one in a run's disturbance, and in its seconds before. These
quiet seconds of the others, repeated to a day, are the past, too: the true one was not recorded.
`smartcloudops evaluate OUT` judges the set.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from scipy.io import loadmat

from bench.labelled_set import Floats, Recorded, alert, out_of_range, write_set

_KINDS = {
    "Poorly Written Query": "slow_query",
    "Poor Physical Design": "too_many_indexes",
    "I/O Saturation": "io_saturation",
    "CPU Saturation": "cpu_saturation",
    "Network Congestion": "network_congestion",
    "Lock Contention": "lock_contention",
    "Workload Spike": "surge",
    "DB Backup": "backup",
    "Table Restore": "restore",
    "Flush Log/Table": "flush",
}
_HARMLESS = {"surge", "backup", "restore", "flush"}
# By role: the column, and its value in the role's unit.
_COLUMNS = {
    "cpu_busy": ("AvgCpuIdle", 0.01),
    "cpu_iowait": ("AvgCpuWai", 0.01),
    "swap_in": ("osNumberOfSwapInSinceLastBoot", 1.0),
    "swap_out": ("osNumberOfSwapOutSinceLastBoot", 1.0),
    "disk_read_bytes": ("osNumberOfSectorReads", 2.0**20),
    "disk_write_bytes": ("osNumberOfSectorWrites", 2.0**20),
    "disk_util": ("osDiskUtilization", 0.01),
    "net_rx_bytes": ("osNetworkRecvKB", 2.0**10),
    "net_tx_bytes": ("osNetworkSendKB", 2.0**10),
    "latency": ("Combined Avg Latency", 1.0),
}
_STEP_S, _PAST_S = 5, 90_000
# The load starts in the first seconds, and some disturbances before their published time.
_STARTS_S, _EARLY_S = 10, 10
_MONDAY = 1_400_457_600


@dataclass(frozen=True)
class _Run:
    """Rows of five seconds: the quiet ones before its disturbance, and those in it."""

    kind: str
    name: str
    quiet: Floats
    disturbed: Floats


@click.command()
@click.argument("file", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def main(file: Path, out: Path) -> None:
    """Write the labelled set."""
    runs = list(_runs(loadmat(file)))
    targets: list[Recorded] = []
    alerts: list[Mapping[str, object]] = []
    for run in runs:
        others = np.vstack([other.quiet for other in runs if other is not run])
        target = _target(run, others)
        targets.append(target)
        alerts.extend(_alerts(run, target, others))
    click.echo(f"{len(runs)} runs, {write_set(out, targets, alerts)}")


def _runs(published: Mapping[str, Any]) -> Iterator[_Run]:
    """The cells' own indices count from one."""
    for row, cause in enumerate(published["causes"].ravel()):
        kind = _KINDS[str(cause[0])]
        for column, cell in enumerate(published["test_datasets"][row]):
            names = [str(name[0]) for name in cell["field_names"][0, 0].ravel()]
            seconds = _by_role(cell["data"][0, 0], names)
            disturbed = published["abnormal_regions"][row, column].ravel().astype(int) - 1
            told = published["normal_regions"][row, column].ravel().astype(int) - 1
            quiet = told if len(told) else np.arange(_STARTS_S, disturbed[0] - _EARLY_S)
            yield _Run(
                kind=kind,
                name=f"{kind}-{column}",
                quiet=_means(seconds[quiet]),
                disturbed=_means(seconds[disturbed]),
            )


def _by_role(values: Floats, names: list[str]) -> Floats:
    seconds = np.column_stack(
        [values[:, names.index(column)] * unit for column, unit in _COLUMNS.values()]
    )
    roles = list(_COLUMNS)
    seconds[:, roles.index("cpu_busy")] = 1 - seconds[:, roles.index("cpu_busy")]
    # A second in which no transaction ended has no latency: the last one known stands.
    latency = seconds[:, roles.index("latency")]
    known = np.maximum.accumulate(np.where(latency > 0, np.arange(len(latency)), 0))
    seconds[:, roles.index("latency")] = latency[known]
    return seconds


def _means(seconds: Floats) -> Floats:
    """Rows of whole five seconds; a rest at the end is left out."""
    whole = seconds[: len(seconds) // _STEP_S * _STEP_S]
    return np.asarray(whole.reshape(-1, _STEP_S, seconds.shape[1]).mean(axis=1))


def _target(run: _Run, others: Floats) -> Recorded:
    past = np.resize(others, (_PAST_S // _STEP_S, others.shape[1]))
    values = np.vstack([past, run.quiet, run.disturbed])
    return Recorded(
        name=run.name, roles=list(_COLUMNS), start=_MONDAY, step_s=_STEP_S, values=values
    )


def _alerts(run: _Run, target: Recorded, others: Floats) -> Iterator[Mapping[str, object]]:
    """The first row out of range before the disturbance, and the first one in it."""
    sides = out_of_range(target.values, others)
    out = np.asarray(sides.any(axis=1))
    disturbed = len(target.values) - len(run.disturbed)
    for first, last, kind in (
        (disturbed - len(run.quiet), disturbed, "natural"),
        (disturbed, len(out), run.kind),
    ):
        if out[first:last].any():
            row = first + int(out[first:last].argmax())
            incident = kind != "natural" and kind not in _HARMLESS
            yield alert(target, row, sides, incident=incident, kind=kind)


if __name__ == "__main__":
    main()
