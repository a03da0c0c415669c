"""The week before the demo, as Prometheus imports it."""

from itertools import pairwise

from demo.aws.world import GROUP_TAG, Instance
from demo.machines import history

_NOW = 1_800_000_000.0
_HOUR_S, _DAY_S = 3_600, 86_400


def _series() -> dict[str, list[tuple[float, float]]]:
    job = {history.JOB_TAG: "true"}
    tags = ({GROUP_TAG: "web-asg"} | job, {GROUP_TAG: "web-asg"})
    instances = [Instance(f"i-{n}", tags=own) for n, own in enumerate(tags)]
    lines = "".join(history.openmetrics(instances, _NOW)).splitlines()
    assert lines.pop() == "# EOF"
    series: dict[str, list[tuple[float, float]]] = {}
    for line in lines:
        identity, value, stamp = line.rsplit(" ", 2)
        series.setdefault(identity, []).append((float(stamp), float(value)))
    return series


def test_the_week_is_whole_and_its_counters_only_grow() -> None:
    """Every series of every machine has the week; a counter that fell would be a reset."""
    series = _series()
    of = {identity.partition('instance_id="')[2].partition('"')[0] for identity in series}
    assert of == {"i-0", "i-1"}
    for identity, samples in series.items():
        stamps = [at for at, _ in samples]
        assert stamps == sorted(stamps)
        assert stamps[0] <= _NOW - 7 * _DAY_S + 1
        if identity.startswith(("node_cpu_seconds_total", "service_requests_total")):
            assert all(before <= after for (_, before), (_, after) in pairwise(samples))


def test_the_nightly_job_is_in_the_past_but_not_in_the_present() -> None:
    """Each day at this hour its machine was busy, and no other; on the last day it has not been."""
    idle = {
        identity.partition('instance_id="')[2].partition('"')[0]: samples
        for identity, samples in _series().items()
        if identity.startswith('node_cpu_seconds_total{cpu="0",mode="idle"')
    }

    def idle_share(instance_id: str, since: float, until: float) -> float:
        within = [(at, value) for at, value in idle[instance_id] if since <= at <= until]
        return (within[-1][1] - within[0][1]) / (within[-1][0] - within[0][0])

    yesterday = _NOW - _DAY_S
    job = idle_share("i-0", yesterday, yesterday + _HOUR_S)
    usual = idle_share("i-0", _NOW - _HOUR_S, _NOW)
    assert job < 0.4 < usual
    assert idle_share("i-1", yesterday, yesterday + _HOUR_S) > 0.4
