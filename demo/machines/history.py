"""A week before the demo, made of what machines of this kind did.

`recorded.npz` holds a day of four machines, recorded by `python -m demo.lab.record`: callers
came as on a usual day that lasts four minutes, and the counters were read every five seconds; then
the nightly job ran. A day of the week is that day at its own pace, of another machine each day. Of
a counter its rate is used, of a gauge its value.
"""

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demo.aws.world import GROUP_TAG, REGION, Instance
from demo.fleet.history import moments

FILE = Path(__file__).with_name("recorded.npz")
UPTIME_S = 20 * 86_400.0
_DAY_S = 86_400.0
# The machine that has a nightly job, the last of its group: on a machine's one processor, a process
# that runs away looks the same as a job at its hour.
JOB_GROUP, JOB_TAG = "web-asg", "nightly-job"
# The window of the nightly job on earlier days, around the time of day at which the history ends.
_JOB_FROM_S, _JOB_TO_S = -600.0, 6_600.0
# What roles, rules and playbooks read, but for clock and boot time: Prometheus imports a week of
# each series of each machine.
_RECORDED = re.compile(
    r"node_(cpu_seconds_total|load\d+|memory_Mem(Total|Available|Free)_bytes|vmstat_(pswp(in|out)|oom_kill)"
    r"|disk_((read|written)_bytes|(reads|writes)_completed|(read|write|io)_time_seconds)_total"
    r"|filesystem_(size_bytes|avail_bytes|files|files_free|readonly)|filefd_(allocated|maximum)"
    r"|network_(receive|transmit)_bytes_total|sockstat_TCP_(inuse|tw)"
    r"|netstat_Tcp_(CurrEstab|PassiveOpens|OutRsts|RetransSegs))"
    r"|service_\w+"
)

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """`day` and `job` are rates and levels: [machines, samples, series].

    `counts` says of each series whether it is a counter. The first sample of `day` is midnight UTC.
    """

    series: Sequence[str]
    counts: NDArray[np.bool_]
    day: Array
    job: Array


@functools.cache
def recording() -> Recording:
    with np.load(FILE, allow_pickle=False) as file:
        return Recording(
            series=file["series"].tolist(),
            counts=file["counts"],
            day=file["day"].astype(float),
            job=file["job"].astype(float),
        )


def openmetrics(instances: Sequence[Instance], now: float) -> Iterator[str]:
    """The series of these instances, with the labels that service discovery adds."""
    at = moments(now)
    stamps = [f"{moment:.3f}\n" for moment in at.tolist()]
    recorded = recording()
    for number, instance in enumerate(instances):
        works = JOB_TAG in instance.tags
        values = _past(recorded, number, at, now if works else None)
        for column, identity in enumerate(recorded.series):
            yield _lines(identity, instance, values[:, column], stamps)
        yield _lines("up", instance, np.ones(at.shape), stamps)
        yield _lines("node_time_seconds", instance, at, stamps)
        booted = np.full(at.shape, now - UPTIME_S)
        yield _lines("node_boot_time_seconds", instance, booted, stamps)
    yield "# EOF\n"


def is_recorded(identity: str) -> bool:
    """Whether a series is taken from the recording."""
    return _RECORDED.fullmatch(identity.partition("{")[0]) is not None


def levels_at(recorded: Recording, number: int, at: Array) -> Array:
    """Rates of counters and values of gauges of one machine, without the job: [moments, series]."""
    day = np.floor(at / _DAY_S).astype(int)
    machines, samples = recorded.day.shape[:2]
    position = ((at % _DAY_S) / _DAY_S * samples).astype(int) % samples
    levels: Array = recorded.day[(day + number) % machines, position]
    return levels


def _past(recorded: Recording, number: int, at: Array, now: float | None) -> Array:
    """[moments, series] of one machine; counters begin at zero. The job ran at this time of day."""
    levels = levels_at(recorded, number, at)
    if now is not None:
        _run_job(levels, recorded, number, at, now)
    lasted = np.diff(at, prepend=at[0])[:, np.newaxis]
    return np.where(recorded.counts, np.cumsum(levels * lasted, axis=0), levels)


def _run_job(levels: Array, recorded: Recording, number: int, at: Array, now: float) -> None:
    day = np.floor(at / _DAY_S).astype(int)
    days_ago = np.floor((now + _DAY_S / 2 - at) / _DAY_S)
    since = at - (now - days_ago * _DAY_S)
    runs = (since >= _JOB_FROM_S) & (since < _JOB_TO_S) & (days_ago >= 1)
    machines, samples = recorded.job.shape[:2]
    index = np.arange(len(at)) % samples
    levels[runs] = recorded.job[(day[runs] + number) % machines, index[runs]]


def _lines(identity: str, instance: Instance, values: Array, stamps: Sequence[str]) -> str:
    name, _, own = identity.partition("{")
    labels = (
        f'job="node",instance="{instance.address}:9100",instance_id="{instance.id}",'
        f'asg="{instance.tags[GROUP_TAG]}",az="{instance.az}",region="{REGION}"'
    )
    head = f"{name}{{{','.join(filter(None, (own.removesuffix('}'), labels)))}}} "
    pairs = zip(values.tolist(), stamps, strict=True)
    return "".join(f"{head}{value:.10g} {stamp}" for value, stamp in pairs)
