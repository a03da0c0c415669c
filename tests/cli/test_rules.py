"""The rules as a shop gets them: for its own scrape interval, and its own job."""

import re
import subprocess
from pathlib import Path

import pytest

from demo.stack import tools
from receiver.cli.main import main
from receiver.durations import parse_duration
from tests.end_to_end.service_process import ROOT

_DOWN = """
rule_files: [rules.yml]
evaluation_interval: 30s
tests:
  - interval: 30s
    input_series:
      - series: up{job="node-exporter", instance_id="i-1", asg="web"}
        values: 1x20 0x10
    alert_rule_test:
      - {eval_time: 10m, alertname: InstanceDown, exp_alerts: []}
    promql_expr_test:
      - expr: count(ALERTS{alertname="InstanceDown", alertstate="firing", instance_id="i-1"})
        eval_time: 12m
        exp_samples: [{labels: "{}", value: 1}]
"""


def _rules(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    main(["rules", *arguments])
    return capsys.readouterr().out


def test_without_options_they_are_the_shipped_ones(capsys: pytest.CaptureFixture[str]) -> None:
    shipped = (ROOT / "prometheus_rules" / "node.yml").read_text()
    printed = _rules(capsys)
    assert printed.partition("groups:\n")[2] == shipped.partition("groups:\n")[2]


@pytest.mark.parametrize("scrape_s", [5, 15, 30, 60])
def test_each_window_has_four_scrapes_and_each_for_two(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, scrape_s: int
) -> None:
    """Of all files at once, and Prometheus' own tool finds nothing wrong with them."""
    names = ["node", "host", "service", "model", "remediator"]
    names += ["service-from-http", "service-from-probe", "service-from-alb"]
    text = _rules(capsys, "--scrape", f"{scrape_s}s", "--job", "node-exporter", *names)
    windows = [parse_duration(found) for found in re.findall(r"\[(\d+[smh])\]", text)]
    waits = re.findall(r" for: (\d+[smh])$", text, re.MULTILINE)
    assert min(windows) == 4 * scrape_s
    assert min(map(parse_duration, waits)) == 2 * scrape_s
    assert set(re.findall(r" interval: (\S+)", text)) == {f"{scrape_s}s"}
    assert 'job="node"' not in text
    (tmp_path / "rules.yml").write_text(text)
    command = [str(tools.find("promtool")), "check", "rules", str(tmp_path / "rules.yml")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_a_host_that_is_down_fires_in_another_shop(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Of another job's name, scraped each 30 s."""
    text = _rules(capsys, "--scrape", "30s", "--job", "node-exporter")
    (tmp_path / "rules.yml").write_text(text)
    (tmp_path / "test.yml").write_text(_DOWN)
    command = [str(tools.find("promtool")), "test", "rules", "test.yml"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    "arguments",
    [("--scrape", "often"), ("--scrape", "1h"), ("--job", 'node"}'), ("nothing",)],
)
def test_what_cannot_be_used_is_refused(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["rules", *arguments])
    assert ended.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
