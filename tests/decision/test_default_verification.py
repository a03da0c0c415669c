"""The default verification, by a real Prometheus: the alert is over, and about this target."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from demo.stack import tools
from receiver.decision.stored_plan import AlertConditions
from receiver.evidence.roles.exporter import Exporter

_ID = "i-0123456789abcdef0"
_LABELS = {"alertname": "HostOutOfMemory", "instance_id": _ID, "asg": "web"}
_TARGET = f'instance_id="{_ID}",asg="web"'
_ALERTS = f'ALERTS{{alertname="HostOutOfMemory",alertstate="firing",{_TARGET}}}'
# An alert of a shop without our labels; Prometheus adds its external label `region`.
_BY_ADDRESS = {
    "alertname": "HostOutOfMemory",
    "instance": "10.0.0.4:9100",
    "severity": "critical",
    "region": "eu-west-1",
}
_OF_HOST = 'instance="10.0.0.4:9100"'
_HOST = 'instance=~"(?:[a-z]+://)?(?:10\\\\.0\\\\.0\\\\.4)(?::[0-9]+)?(?:/.*)?"'
_PUSHED = Exporter(name="pushed", presence="system_cpu_load{$of}", exprs={})


def _value(folder: Path, series: Mapping[str, str], expr: str, answer: int | None) -> None:
    samples = [] if answer is None else [{"labels": "{}", "value": answer}]
    case = {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": expr, "eval_time": "2m", "exp_samples": samples}],
    }
    file = folder / "case.json"
    file.write_text(json.dumps({"tests": [case]}))
    command = [str(tools.find("promtool")), "test", "rules", str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("series", "answer"),
    [
        ({f"up{{{_TARGET}}}": "1x20"}, None),
        ({f"up{{{_TARGET}}}": "1x20", _ALERTS: "1x20"}, 0),
        ({f"up{{{_TARGET}}}": "1x20", _ALERTS: "1 1 1 stale"}, 1),
        ({f"up{{{_TARGET}}}": "0x20", _ALERTS: "1 1 1 stale"}, 0),
        ({_ALERTS: "1 1 1 stale"}, None),
    ],
    ids=["never fired here", "fires", "over", "does not answer", "is not scraped"],
)
def test_an_alert_is_over_only_where_it_was_seen(
    tmp_path: Path, series: Mapping[str, str], answer: int | None
) -> None:
    """Without the alert's own series, another server evaluates the rules: unknown."""
    alert = AlertConditions(
        labels=_LABELS, named_by="instance_id", selector=f'instance_id="{_ID}"', members=""
    )
    _value(tmp_path, series, alert.over, answer)


def _fires(labels: str, values: str = "1x20") -> dict[str, str]:
    return {f'ALERTS{{alertname="HostOutOfMemory",alertstate="firing",{labels}}}': values}


_UP = {f"up{{{_OF_HOST}}}": "1x20"}
_OVER = _fires(f'{_OF_HOST},severity="critical"', "1 1 1 stale")


@pytest.mark.parametrize(
    ("series", "answer"),
    [
        (_UP | _fires(f'{_OF_HOST},severity="critical"'), 0),
        (_UP | _OVER, 1),
        # Each of another host, of another rule, of no host, of another place.
        (_UP | _OVER | _fires('instance="10.0.0.5:9100",severity="critical"'), 1),
        (_UP | _OVER | _fires(f'{_OF_HOST},severity="warning"'), 1),
        (_UP | _OVER | _fires('severity="critical"'), 1),
        (_UP | _OVER | _fires(f'{_OF_HOST},severity="critical",region="us-east-1"'), 1),
        (_OVER, None),
        (_OVER | {f"system_cpu_load{{{_OF_HOST}}}": "1x20"}, 1),
        (_UP | {'up{instance="10.0.0.5:9100"}': "0x20"}, None),
    ],
    ids=str,
)
def test_a_shop_without_our_labels_sees_the_recovery(
    tmp_path: Path, series: Mapping[str, str], answer: int | None
) -> None:
    """The alert's own labels tell it from others, and the series' labels its target."""
    alert = AlertConditions(
        labels=_BY_ADDRESS, named_by="instance", selector=_HOST, members="", exporter=_PUSHED
    )
    _value(tmp_path, series, alert.over, answer)


@pytest.mark.parametrize(
    ("labels", "named_by"),
    [
        ({"alertname": "HostOutOfMemory", "instance_id": _ID}, "instance_id"),
        ({**_BY_ADDRESS, "instance_id": _ID}, "instance_id"),
    ],
    ids=["a person started the run", "relabelling of alerts added the id"],
)
@pytest.mark.parametrize(("values", "answer"), [("1x20", 0), ("1 1 1 stale", 1)])
def test_the_series_tell_the_alert_where_its_own_label_does_not(
    tmp_path: Path, labels: Mapping[str, str], named_by: str, values: str, answer: int
) -> None:
    """`ALERTS` has the labels of the series, as long as the rule keeps them."""
    others = _fires('instance="10.0.0.5:9100"')
    alert = AlertConditions(labels=labels, named_by=named_by, selector=_HOST, members="")
    _value(tmp_path, {**_UP, **others, **_fires(_OF_HOST, values)}, alert.over, answer)


@pytest.mark.parametrize(("values", "answer"), [("1x20", 0), ("1 1 1 stale", 1)])
@pytest.mark.parametrize("members", ['asg="web"', 'instance=~"a|b"'])
def test_a_groups_alert_is_over_while_a_member_is_scraped(
    tmp_path: Path, members: str, values: str, answer: int
) -> None:
    """By the label of the group, or by the names of its members."""
    alert = AlertConditions(
        labels={"alertname": "HostOutOfMemory", "asg": "web"},
        named_by="asg",
        selector="",
        members=members,
    )
    up = {'up{asg="web",instance="a"}': "1x20", 'up{asg="web",instance="b"}': "0x20"}
    _value(tmp_path, up | _fires('asg="web"', values), alert.over, answer)


def test_an_alert_that_names_no_target_is_never_over() -> None:
    """A person named the target: neither all targets nor none are it."""
    alert = AlertConditions(
        labels={"alertname": "HostOutOfMemory", "severity": "page"},
        named_by="",
        selector="",
        members="",
    )
    assert "up" not in alert.over
