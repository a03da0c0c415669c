"""A labelled set from pods into which others injected faults."""

import csv
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bench.nezha import main
from models.training.labelled_sets import LabelledSet, read_set

_BUSY, _USUAL = 90.0, 10.0
_HEADER = (
    "TimeStamp",
    "CpuUsageRate(%)",
    "MemoryUsage(Mi)",
    "NetworkReceiveBytes",
    "NetworkTransmitBytes",
    "PodServerLatencyP99(s)",
    "PodWorkload(Ops)",
)
_FAULT_MINUTE = 20


def _at(day: str, minute: int) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) + 60 * minute


def _write_pod(path: Path, day: str, minutes: range, busy: Sequence[int]) -> None:
    rng = np.random.default_rng(len(path.name))
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_HEADER)
        for minute in minutes:
            cpu = _BUSY if minute in busy else _USUAL + rng.random()
            writer.writerow([_at(day, minute), cpu, 100 + rng.random(), 1e4, 1e4, "", 5])


def _write_day(folder: Path, day: str, minutes: range, busy: Mapping[str, Sequence[int]]) -> None:
    metrics = folder / "rca_data" / day / "metric"
    metrics.mkdir(parents=True)
    for service in ("cart", "pay"):
        _write_pod(metrics / f"{service}-5f6-fnm_metric.csv", day, minutes, busy.get(service, ()))
    at = _at(day, minutes[0] + _FAULT_MINUTE)
    fault = {"inject_timestamp": str(at), "inject_pod": "cart-5f6-fnm", "inject_type": "cpu"}
    listed = metrics.parent / f"{day}-fault_list.json"
    listed.write_text(json.dumps({"03": [fault]}))


@pytest.fixture
def read(tmp_path: Path) -> LabelledSet:
    first, second = range(240, 1440), range(720, 1440)
    fault = second[0] + _FAULT_MINUTE
    busy = {
        "cart": range(fault, fault + 6),
        "pay": [*range(fault + 3, fault + 6), 1300, 1301, 1302],
    }
    for days in (("2022-08-22", "2022-08-23"), ("2023-01-29", "2023-01-30")):
        _write_day(tmp_path / "published", days[0], first, {})
        _write_day(tmp_path / "published", days[1], second, busy)
    result = CliRunner().invoke(main, [str(tmp_path / "published"), str(tmp_path / "sets")])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[0].startswith("online-boutique: 2 pods, 3 alerts, 1 incid")
    return read_set(tmp_path / "sets" / "online-boutique")


def test_an_alert_soon_after_a_fault_of_its_pod_is_an_incident(read: LabelledSet) -> None:
    """An alert of another pod at that time is the fault's victim, a later one has no cause."""
    told = [(alert.target, alert.incident, alert.kind) for alert in read.alerts]
    assert told == [("cart", True, "cpu"), ("pay", False, "victim"), ("pay", False, "natural")]
    assert all("cpu_busy" in alert.roles for alert in read.alerts)


def test_pods_have_units_and_no_siblings(read: LabelledSet) -> None:
    """So they are judged as the service judges a host without siblings."""
    _, evidence = next(iter(read))
    assert evidence.peers == {}
    assert not evidence.relative
    assert (evidence.recent or {})["cpu_busy"].values[-1] == pytest.approx(_BUSY / 100)
    assert "latency" not in (evidence.history or {})
