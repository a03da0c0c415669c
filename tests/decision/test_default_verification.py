"""The default verification, by a real Prometheus: the alert is over, and about this target."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from demo.stack import tools
from receiver.decision.stored_plan import alert_cleared_expr

_LABELS = {"alertname": "HostOutOfMemory", "instance_id": "i-0123456789abcdef0", "asg": "web"}
_TARGET = 'instance_id="i-0123456789abcdef0",asg="web"'
_ALERTS = f'ALERTS{{alertname="HostOutOfMemory",alertstate="firing",{_TARGET}}}'


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
    samples = [] if answer is None else [{"labels": "{}", "value": answer}]
    expr = alert_cleared_expr(_LABELS)
    case = {
        "interval": "15s",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": expr, "eval_time": "2m", "exp_samples": samples}],
    }
    file = tmp_path / "case.json"
    file.write_text(json.dumps({"tests": [case]}))
    command = [str(tools.find("promtool")), "test", "rules", str(file)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_an_alert_that_names_no_target_is_never_over() -> None:
    """A person named the target: neither all targets nor none are it."""
    assert "up" not in alert_cleared_expr({"alertname": "HostOutOfMemory"})


def test_a_target_that_is_told_by_its_address_is_named() -> None:
    """No other host's alert, and no other target, decides about this one."""
    expr = alert_cleared_expr({"alertname": "HostOutOfMemory", "instance": "10.0.0.4:9100"})
    assert 'up{instance="10.0.0.4:9100"}' in expr
    assert 'ALERTS{alertname="HostOutOfMemory",instance="10.0.0.4:9100"' in expr
