"""The fleet's past: a week of metrics in which a batch job ran each day at this hour."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from demo.aws.world import REGION
from demo.fleet.node_exporter import Exporter, past
from demo.fleet.workload import Host, Moments, Workload, levels, usual_requests

_DAYS = 7
_DAY_S, _HOUR_S = 86_400.0, 3_600.0
_COARSE_S, _FINE_S, _FINE_FOR_S = 300.0, 15.0, 2 * _HOUR_S
# The job's window on earlier days, around the time of day at which the history ends.
_BATCH_FROM_S, _BATCH_TO_S = -600.0, 2 * _HOUR_S - 600.0
_UPTIME_S = 20 * _DAY_S

PastSeries = Mapping[str, Sequence[tuple[str, Moments]]]


def moments(now: float) -> Moments:
    """Moments every 5 minutes for a week, and every 15 seconds for the last two hours."""
    fine_from = now - _FINE_FOR_S
    coarse = np.arange(now - _DAYS * _DAY_S, fine_from, _COARSE_S)
    return np.concatenate([coarse, np.arange(fine_from, now, _FINE_S)])


def simulate_past(hosts: Sequence[Host], now: float) -> tuple[Mapping[str, Exporter], PastSeries]:
    """Simulate a week. Returns the exporters at its end, and their series, by instance id."""
    at = moments(now)
    exporters, series = {}, {}
    for host in hosts:
        workload = Workload(
            requests=usual_requests(host.group, at),
            runaway=np.zeros(at.shape),
            batch=_batch(host, at, now),
        )
        exporter, own = past(levels(host, workload, at), at, now - _UPTIME_S)
        exporter.at = now
        exporters[host.instance_id], series[host.instance_id] = exporter, own
    return exporters, series


def openmetrics(hosts: Sequence[Host], series: PastSeries, now: float) -> Iterator[str]:
    """The past in OpenMetrics' text format, with the labels that service discovery adds."""
    stamps = [f"{moment:.3f}\n" for moment in moments(now).tolist()]
    for host in hosts:
        up = [("up", np.ones(len(stamps)))]
        for identity, values in [*series[host.instance_id], *up]:
            name, _, own = identity.partition("{")
            labels = ",".join(filter(None, (own.removesuffix("}"), _labels(host))))
            head = f"{name}{{{labels}}} "
            yield "".join(
                f"{head}{value:.10g} {stamp}"
                for value, stamp in zip(values.tolist(), stamps, strict=True)
            )
    yield "# EOF\n"


def _batch(host: Host, at: Moments, now: float) -> Moments:
    """The job's load from 0 to 1, slightly different each day; 0 on the last day."""
    days_ago = np.floor((now + _DAY_S / 2 - at) / _DAY_S)
    since = at - (now - days_ago * _DAY_S)
    runs = (since >= _BATCH_FROM_S) & (since < _BATCH_TO_S) & (days_ago >= 1)
    return np.where(runs, 0.94 + 0.03 * np.sin(days_ago + host.phase) + 0.03, 0.0)


def _labels(host: Host) -> str:
    return (
        f'job="node",instance="{host.address}:9100",instance_id="{host.instance_id}",'
        f'asg="{host.group}",az="{host.az}",region="{REGION}"'
    )
