"""The bench of rule sets, with a set of our own: rules on a real Prometheus, hosts in AWS."""

from pathlib import Path

import pytest

from bench.rules.__main__ import as_table, measure

_SET = """
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
spec:
  groups:
    - name: own
      rules:
        - {record: own:load, expr: node_load1}
        - alert: HostOutOfMemory
          expr: node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes < 0.1
          for: 2m
          labels: {severity: warning}
        - alert: HostConntrackLimit
          expr: node_timex_offset_seconds > 0.05 and deriv(node_timex_offset_seconds[5m]) >= 0
        - {alert: Calm, expr: "node_load1 > 1e9"}
        - {alert: Aggregated, expr: "sum(node_load1) > 1"}
        - {alert: Broken, expr: "node_load1 / on (job) node_memory_MemTotal_bytes"}
"""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, object]]:
    folder = tmp_path_factory.mktemp("sets")
    (folder / "own.yaml").write_text(_SET)
    return measure(folder, [30])


def test_each_alert_finds_the_host_that_its_label_names(rows: list[dict[str, object]]) -> None:
    """By each kind of name; what does not fire, or is about no host, is not counted."""
    assert [row["instance_as"] for row in rows] == ["address", "dns_name", "id", "tag"]
    for row in rows:
        assert row == {
            "set": "own",
            "instance_as": row["instance_as"],
            "scrape_s": 30,
            "fired": 2,
            "right_target": 2,
            "wrong_target": 0,
            "no_target": 0,
            "with_playbook": 1,
            "names": ["Aggregated", "Broken", "Calm", "HostConntrackLimit", "HostOutOfMemory"],
        }


def test_the_table_has_a_line_for_each(rows: list[dict[str, object]]) -> None:
    assert list(as_table(rows))[2] == "| own | 5 | address | 30 s | 2 | 2 | 0 | 0 | 1 |"


def test_the_folder_must_have_a_set(tmp_path: Path) -> None:
    assert measure(tmp_path, []) == []
