"""A re-check implies its rule: where the rule is silent, no shipped playbook's re-check confirms.

By promtool, over timelines of a host and its siblings; the re-checks are recorded by rules that
the test makes of the shipped playbooks.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from demo.stack import tools
from receiver.playbooks.alert_rules import OWN_ALERTS, load_rules
from receiver.playbooks.loader import load
from receiver.playbooks.placeholders import EXAMPLES, render
from receiver.playbooks.rule_check import check_rules
from receiver.playbooks.schema import Playbook

_ROOT = Path(__file__).parents[2]
_RULES = _ROOT / "prometheus_rules"
_HOST = EXAMPLES["instance_id"]
# An alert of the service's own has no rule; its step's `when` reads what EC2 says.
_RECHECKED = [
    playbook
    for playbook in load(_ROOT / "playbooks").items
    if playbook.recheck and playbook.alertname not in OWN_ALERTS
]
_LABELS = 'asg="web-asg",az="a",region="r"'


def _series(name: str, host: str, values: str, job: str = "node", more: str = "") -> dict[str, str]:
    labels = f'job="{job}",instance_id="{host}",instance="{host}:9100",{_LABELS}{more}'
    return {"series": f"{name}{{{labels}}}", "values": values}


def _sibling(requests: str = "0+500x400") -> list[dict[str, str]]:
    return [
        _series("up", "i-1", "1x400"),
        _series("service_up", "i-1", "1x400"),
        _series("service_requests_total", "i-1", requests),
    ]


def _host(
    up: str | None = "1x400",
    service_up: str | None = "1x400",
    requests: str | None = "0+500x400",
    errors: str | None = None,
    job: str = "node",
) -> list[dict[str, str]]:
    named = {
        "service_up": service_up,
        "service_requests_total": requests,
        "service_errors_total": errors,
    }
    series = [_series(name, _HOST, values, job) for name, values in named.items() if values]
    return [*series, *([_series("up", _HOST, up)] if up else [])]


def _disk(free: int) -> list[dict[str, str]]:
    more = ',device="/dev/sda1",fstype="ext4",mountpoint="/"'
    return [
        _series("node_filesystem_avail_bytes", _HOST, f"{free}x400", more=more),
        _series("node_filesystem_size_bytes", _HOST, "100x400", more=more),
    ]


def _unit(failed: int) -> list[dict[str, str]]:
    more = ',name="nginx.service",state="failed"'
    return [_series("node_systemd_unit_state", _HOST, f"{failed}x400", more=more)]


def _idle(members: int, idle_cpu: float) -> list[dict[str, str]]:
    more = ',cpu="0",mode="idle"'
    names = [_HOST, *(f"i-{number}" for number in range(1, members))]
    counter = f"0+{idle_cpu * 5}x1000"
    return [_series("up", name, "1x1000") for name in names] + [
        _series("node_cpu_seconds_total", name, counter, more=more) for name in names
    ]


def _of_mount(**values: str) -> list[dict[str, str]]:
    more = ',device="/dev/sda1",fstype="ext4",mountpoint="/"'
    return [
        _series(f"node_filesystem_{name}", _HOST, text, more=more) for name, text in values.items()
    ]


def _foreseen(resource: str, latest_s: float) -> list[dict[str, str]]:
    name = "smartcloudops_watch_exhaustion_latest_seconds"
    return [_series(name, _HOST, f"{latest_s:.0f}x2000", more=f',resource="{resource}"')]


# For each playbook on a host's own metrics: series of a host that is ill, and of one that is not.
_HOSTS = {
    "disk-filling": (
        _of_mount(avail_bytes="4000-0.5x2000", size_bytes="10000x2000"),
        # It has room for a day.
        _of_mount(avail_bytes="39000-0.5x2000", size_bytes="40000x2000"),
    ),
    "disk-will-fill": (
        [*_foreseen("disk", 3600), *_of_mount(avail_bytes="9000-8x2000")],
        [*_foreseen("disk", 9e9), *_of_mount(avail_bytes="9000x2000")],
    ),
    "memory-will-run-out": (
        [
            *_foreseen("memory", 600),
            _series("node_memory_MemAvailable_bytes", _HOST, "9000-8x2000"),
        ],
        [
            *_foreseen("memory", 9e9),
            _series("node_memory_MemAvailable_bytes", _HOST, "9000x2000"),
        ],
    ),
    "inodes-full": (
        _of_mount(files_free="10x2000", files="100x2000"),
        _of_mount(files_free="30x2000", files="100x2000"),
    ),
    "filesystem-read-only": (
        _of_mount(readonly="0x900 1x1000"),
        _of_mount(readonly="1x2000"),
    ),
    "unit-restarting": (
        [_series("node_systemd_service_restart_total", _HOST, "0+0.1x2000", more=',name="a"')],
        [_series("node_systemd_service_restart_total", _HOST, "0x1060 1x900", more=',name="a"')],
    ),
    "oom-kill": (
        [_series("node_vmstat_oom_kill", _HOST, "0x1000 1x1000")],
        [_series("node_vmstat_oom_kill", _HOST, "1x2000")],
    ),
    "clock": (
        [_series("node_timex_sync_status", _HOST, "1x900 0x1000")],
        [_series("node_timex_sync_status", _HOST, "1x1050 0x1000")],
    ),
    "cpu-steal": (
        [_series("node_cpu_seconds_total", _HOST, "0+1x2000", more=',cpu="0",mode="steal"')],
        [_series("node_cpu_seconds_total", _HOST, "0+0.4x2000", more=',cpu="0",mode="steal"')],
    ),
    "file-descriptors": (
        [
            _series("node_filefd_allocated", _HOST, "80x2000"),
            _series("node_filefd_maximum", _HOST, "100x2000"),
        ],
        [
            _series("node_filefd_allocated", _HOST, "60x2000"),
            _series("node_filefd_maximum", _HOST, "100x2000"),
        ],
    ),
}


@dataclass(frozen=True, kw_only=True)
class _Timeline:
    """`confirms` are the playbooks whose re-check holds at the end; their rule fires there."""

    series: Sequence[Mapping[str, str]]
    at: str = "4m"
    confirms: Sequence[str] = ()


_TIMELINES = {
    "a busy group without a fault": _Timeline(series=[*_host(), *_sibling()]),
    "an idle group without a fault": _Timeline(
        series=[*_host(requests="5000x400"), *_sibling("7000x400")]
    ),
    "a group whose traffic left": _Timeline(
        series=[*_host(requests="0+500x30 15000x370"), *_sibling("0+500x30 15000x370")]
    ),
    "a host that hangs among siblings that serve": _Timeline(
        series=[*_host(requests="0+500x30 15000x370"), *_sibling()], confirms=["service-down"]
    ),
    "a host that never had traffic, such as a standby": _Timeline(
        series=[*_host(requests="5000x400"), *_sibling()], at="8m"
    ),
    "a service that is down": _Timeline(
        series=[*_host(service_up="1x20 0x380", requests=None), *_sibling()],
        confirms=["service-down"],
    ),
    "a service that was down on a host that is gone": _Timeline(
        series=[*_host(None, "1x20 0x25 stale", None), *_sibling()]
    ),
    "an instance that is down": _Timeline(
        series=[*_host("1x40 0x360", "1x40 stale", "0+500x40 stale"), *_sibling()],
        confirms=["instance-down"],
    ),
    "an instance that has been down for long": _Timeline(
        series=[*_host("1x40 0x360", "1x40 stale", "0+500x40 stale"), *_sibling()],
        at="15m",
        confirms=["instance-down"],
    ),
    "an exporter that is down on a host that serves": _Timeline(
        series=[*_host("1x20 0x380", job="service"), *_sibling()]
    ),
    "a new instance that has not answered yet": _Timeline(
        series=[*_host("_x35 0x365", None, None), *_sibling()]
    ),
    "an instance that was down and is gone": _Timeline(
        series=[*_host("1x20 0x25 stale", None, None), *_sibling()]
    ),
    "wrong answers": _Timeline(
        series=[*_host(requests="0+10x400", errors="0+90x400"), *_sibling()],
        confirms=["critical-failure", "slo-burn"],
    ),
    "wrong answers of a service that is down as well": _Timeline(
        series=[*_host("1x400", "0x400", "0+10x400", "0+90x400"), *_sibling()],
        confirms=["service-down", "slo-burn"],
    ),
    "errors of a minute": _Timeline(
        series=[
            *_host(requests="0+500x400", errors="0x210 0+90x6 540x190"),
            *_sibling("0+500x400"),
        ],
        at="18m",
    ),
    "a disk that is full": _Timeline(series=_disk(5), confirms=["disk-full"]),
    "a disk that is half full": _Timeline(series=_disk(50)),
    **{
        f"{name}: {what}": _Timeline(series=series, at="90m", confirms=[name] if ill else [])
        for name, (ill_series, well_series) in _HOSTS.items()
        for what, series, ill in (("ill", ill_series, True), ("well", well_series, False))
    },
    "a unit that failed": _Timeline(series=_unit(1), confirms=["unit-failed"]),
    "a unit that runs": _Timeline(series=_unit(0)),
    "three idle members": _Timeline(series=_idle(3, 0.9), at="80m", confirms=["idle-capacity"]),
    "two idle members": _Timeline(series=_idle(2, 0.9), at="80m"),
    "three busy members": _Timeline(series=_idle(3, 0.4), at="80m"),
}


def _records(playbook: Playbook) -> list[str]:
    name = playbook.name.replace("-", "_")
    return [f"recheck_{name}_{number}" for number in range(len(playbook.recheck))]


def _confirmed(playbook: Playbook) -> str:
    """An expression with a value where the service would take the re-check as confirmed."""
    parts = [f"(count({record} != 0) unless count({record} == 0))" for record in _records(playbook)]
    return " and ".join(parts)


def _alerts(playbook: Playbook) -> str:
    """The playbook's alerts that are pending or fire."""
    (matcher,) = playbook.match
    return f'ALERTS{{{matcher},asg="web-asg",instance_id=~"{_HOST}|"}}'


def _expect(expr: str, at: str, *, holds: bool) -> dict[str, Any]:
    samples = [{"labels": "{}", "value": 1}] if holds else []
    return {"expr": f"count({expr})", "eval_time": at, "exp_samples": samples}


def _promtool(folder: Path, timeline: _Timeline, playbooks: Sequence[Playbook]) -> str:
    """What promtool says of the timeline; empty where all holds."""
    recorded = [
        {"record": record, "expr": render(expr, EXAMPLES)}
        for playbook in playbooks
        for record, expr in zip(_records(playbook), playbook.recheck, strict=True)
    ]
    rules = folder / "rechecks.yml"
    rules.write_text(json.dumps({"groups": [{"name": "z", "interval": "5s", "rules": recorded}]}))
    expected = [
        test
        for playbook in playbooks
        for test in (
            _expect(_confirmed(playbook), timeline.at, holds=playbook.name in timeline.confirms),
            _expect(
                f"({_confirmed(playbook)}) unless on () {_alerts(playbook)}",
                timeline.at,
                holds=False,
            ),
        )
    ]
    case = {
        "interval": "5s",
        "input_series": list(timeline.series),
        "promql_expr_test": expected,
    }
    names = ("node", "host", "service", "watch")
    return _failures(folder, case, [*(_RULES / f"{name}.yml" for name in names), rules])


def _failures(folder: Path, case: Mapping[str, Any], rules: Sequence[Path] = ()) -> str:
    """What is wrong by `promtool test rules`; nothing if the case holds."""
    file = folder / "test.yml"
    files = [str(path) for path in rules]
    file.write_text(json.dumps({"rule_files": files, "evaluation_interval": "5s", "tests": [case]}))
    result = subprocess.run(
        [tools.find("promtool"), "test", "rules", file], capture_output=True, text=True, check=False
    )
    return "" if result.returncode == 0 else result.stdout + result.stderr


@pytest.mark.parametrize("name", _TIMELINES)
def test_a_silent_rule_is_not_confirmed(tmp_path: Path, name: str) -> None:
    """Each timeline confirms just the playbooks whose alert is there."""
    assert _promtool(tmp_path, _TIMELINES[name], _RECHECKED) == ""


def test_every_recheck_is_seen_to_confirm() -> None:
    """Or its silence in the other timelines would prove nothing."""
    confirmed = {name for timeline in _TIMELINES.values() for name in timeline.confirms}
    assert confirmed == {playbook.name for playbook in _RECHECKED}


def test_a_weaker_recheck_is_seen_in_an_idle_group(tmp_path: Path) -> None:
    """The same test with a re-check that ignores the siblings: an idle group's host confirms."""
    (playbook,) = (book for book in _RECHECKED if book.name == "service-down")
    weak = 'sum(rate(service_requests_total{instance_id="$instance_id"}[20s])) == bool 0'
    weaker = playbook.model_copy(update={"recheck": [weak]})
    timeline = _TIMELINES["an idle group without a fault"]
    assert "recheck_service_down_0" in _promtool(tmp_path, timeline, [weaker])


def test_shipped_rechecks_imply_their_rules() -> None:
    """And every `verify` reads the alert's series and names its target."""
    result = check_rules(_ROOT / "playbooks", load_rules(_RULES))
    assert list(map(str, result.findings)) == []
    assert list(map(str, result.warnings)) == []


def _member(name: str, before: str) -> list[Any]:
    """A member from some time on (`_x20 ` is the time before), with all that a `verify` reads."""
    more = ',mountpoint="/"'
    up, requests = before + "1x300", before + "0+500x300"
    cpu = ',cpu="0",mode="steal"'
    return [
        _series("up", name, up),
        _series("service_up", name, up),
        _series("service_requests_total", name, requests),
        _series("node_cpu_seconds_total", name, f"{before}0+0.1x300", more=cpu),
        _series("instance:node_cpu_utilisation:irate", name, f"{before}0.3x300"),
        _series("instance:node_memory_used:ratio", name, f"{before}0.3x300"),
        _series("instance:node_filesystem_utilisation:ratio", name, f"{before}0.3x300", more=more),
    ]


_GONE = _series("up", _HOST, "1x110 stale"), _series("service_up", _HOST, "1x110 stale")
_LATE = "_x120 "


@pytest.mark.parametrize(
    ("series", "recovered"),
    [
        ([*_GONE, *_member("i-1", ""), *_member("i-9", _LATE)], True),
        ([*_GONE, *_member("i-1", "")], False),
        ([*_member(_HOST, ""), *_member("i-1", ""), *_member("i-9", _LATE)], False),
    ],
    ids=["replaced", "without a replacement", "the old instance is still there"],
)
def test_a_replacement_is_verified_by_its_own_series(
    tmp_path: Path, *, series: list[Any], recovered: bool
) -> None:
    """Of every shipped `replace_instance`: the group alone proves nothing."""
    exprs = [
        step.verify.expr
        for playbook in load(_ROOT / "playbooks").items
        for step in playbook.steps
        if step.action == "replace_instance" and step.verify
    ]
    assert len(exprs) == 7
    samples = [{"labels": "{}", "value": 1}] if recovered else []
    tests = [
        {"expr": f"({render(expr, EXAMPLES)}) != 0", "eval_time": "15m", "exp_samples": samples}
        for expr in exprs
    ]
    case = {"interval": "5s", "input_series": series, "promql_expr_test": tests}
    assert not _failures(tmp_path, case)


@pytest.mark.parametrize(
    ("free", "recovered"),
    [
        ("3900x180 3900-40x10 3500x5 3900x40", True),
        ("4000-0.5x240", False),
        ("3900x180 3900-40x10 3500x45", False),
    ],
    ids=["filled within a minute, cleaned", "goes on filling", "stays full"],
)
def test_a_cleaned_disk_is_verified(tmp_path: Path, free: str, *, recovered: bool) -> None:
    (playbook,) = load(_ROOT / "playbooks").named("disk-filling")
    samples = [{"labels": "{}", "value": 1}] if recovered else []
    assert playbook.verify
    check = {"expr": f"({render(playbook.verify.expr, EXAMPLES)}) != 0", "exp_samples": samples}
    tests = [{**check, "eval_time": f"{seconds}s"} for seconds in (1020, 1035)]
    case = {
        "interval": "5s",
        "input_series": _of_mount(avail_bytes=free),
        "promql_expr_test": tests,
    }
    assert not _failures(tmp_path, case)
