"""A labelled set from a database server that others broke."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from scipy.io import savemat

from bench.dbsherlock import main
from models.features.window import DAY_SLOTS, SLOT_S
from models.training.labelled_sets import LabelledSet, read_set

_COLUMNS = (
    "Epoch",
    "Combined Avg Latency",
    "AvgCpuIdle",
    "AvgCpuWai",
    "osNumberOfSectorReads",
    "osNumberOfSectorWrites",
    "osDiskUtilization",
    "osNumberOfSwapInSinceLastBoot",
    "osNumberOfSwapOutSinceLastBoot",
    "osNetworkSendKB",
    "osNetworkRecvKB",
)
_SECONDS, _FIRST, _LAST = 130, 61, 110
# The seconds before, in which some disturbances begin unpublished.
_EARLY = 10


def _run(number: int, column: str, value: float, at: slice) -> NDArray[np.float64]:
    """A quiet run but for a column, which has a value in some seconds."""
    rng = np.random.default_rng(number)
    usual = np.array([0, 2.0, 50, 10, 0, 4, 90, 0, 0, 300, 200])
    rows = usual * (1 + 0.05 * rng.random((_SECONDS, len(usual))))
    rows[:9] = 0
    rows[at, _COLUMNS.index(column)] = value
    return rows


def _cells(rows: list[list[Any]]) -> NDArray[np.object_]:
    cells = np.empty((len(rows), len(rows[0])), dtype=object)
    for at in np.ndindex(*cells.shape):
        cells[at] = rows[at[0]][at[1]]
    return cells


@pytest.fixture
def read(tmp_path: Path) -> LabelledSet:
    disturbed, before = slice(_FIRST - 1, _LAST), slice(30, 45)
    runs = {
        "CPU Saturation": [
            _run(1, "AvgCpuIdle", 0, slice(_FIRST - 1 - _EARLY, _LAST)),
            _run(2, "AvgCpuIdle", 0, slice(40, _LAST)),
        ],
        "DB Backup": [
            _run(3, "osNetworkSendKB", 8000, disturbed),
            _run(4, "AvgCpuWai", 60, before),
        ],
        "Network Congestion": [
            _run(5, "Combined Avg Latency", 0, disturbed),
            _run(6, "Combined Avg Latency", 20, disturbed),
        ],
    }
    abnormal = np.arange(_FIRST, _LAST + 1)
    names = np.array(_COLUMNS, dtype=object)
    published = {
        "causes": np.array([list(runs)], dtype=object),
        "test_datasets": _cells(
            [[{"data": run, "field_names": names} for run in row] for row in runs.values()]
        ),
        "abnormal_regions": _cells([[abnormal] * 2] * len(runs)),
        # Published for some runs only; the others are quiet wherever they are not disturbed.
        "normal_regions": _cells([[[], np.arange(20, 41)], [[], []], [[], []]]),
    }
    savemat(tmp_path / "published.mat", published)
    args = [str(tmp_path / "published.mat"), str(tmp_path / "set")]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 0, result.output
    assert result.output == "6 runs, 5 alerts, 3 incidents\n"
    return read_set(tmp_path / "set")


def test_a_fault_is_an_incident_and_a_backup_is_none(read: LabelledSet) -> None:
    """An alert of the seconds before has no cause, whatever the run."""
    assert [(alert.id.rsplit("-", 1)[0], alert.incident, alert.kind) for alert in read.alerts] == [
        ("cpu_saturation-0", True, "cpu_saturation"),
        ("cpu_saturation-1", True, "cpu_saturation"),
        ("backup-0", False, "backup"),
        ("backup-1", False, "natural"),
        ("network_congestion-1", True, "network_congestion"),
    ]
    moved = [alert.roles for alert in read.alerts]
    assert moved == [
        ("cpu_busy",),
        ("cpu_busy",),
        ("net_tx_bytes",),
        ("cpu_iowait",),
        ("latency",),
    ]


def test_an_alert_is_ten_seconds_old_and_has_a_day_of_quiet_past(read: LabelledSet) -> None:
    """The past is of the other runs, and has neither disturbances nor the start of the load."""
    _, evidence = next(iter(read))
    history, recent = evidence.history or {}, evidence.recent or {}
    assert len(history["cpu_busy"].values) >= DAY_SLOTS
    assert max(history["cpu_busy"].values[:DAY_SLOTS]) < 0.55
    assert min(history["net_rx_bytes"].values[:DAY_SLOTS]) > 200 * 1024
    assert recent["cpu_busy"].values[-3:] == pytest.approx([0.5, 1, 1], abs=0.05)
    assert np.diff(history["cpu_busy"].times) == pytest.approx(SLOT_S)


def test_it_has_units_and_no_siblings(read: LabelledSet) -> None:
    """So it is judged as the service judges a host without siblings."""
    _, evidence = next(iter(read))
    assert evidence.peers == {}
    assert not evidence.relative
    assert (evidence.recent or {})["disk_write_bytes"].values[-1] == pytest.approx(4.1e6, rel=0.1)


def test_no_alert_where_no_transaction_ends(read: LabelledSet) -> None:
    """The last known latency stands: none at all would look like an improvement."""
    assert "network_congestion-0" not in {alert.target for alert in read.alerts}
