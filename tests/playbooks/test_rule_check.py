"""`smartcloudops check --rules`: the terms that a re-check lacks of its rule."""

from pathlib import Path

import pytest

from receiver.playbooks.alert_rules import load_rules
from receiver.playbooks.promql.measure import PromqlError, parse
from receiver.playbooks.promql.terms import TermReader
from receiver.playbooks.rule_check import RuleCheck, check_rules

_PLAYBOOK = """\
name: worker
match:
  - alertname=~"WorkerStuck|WorkerGone"
recheck:
{recheck}
steps:
  - action: reboot_instance
verify:
  expr: {verify}
"""
_RULES = """\
groups:
  - name: worker
    rules:
      - record: asg:jobs:rate
        expr: sum by (asg) (rate(jobs_total[1m]))
      - alert: WorkerStuck
        expr: {expr}
        labels:
          severity: warning
"""
_RATE = "sum(rate(jobs_total{HOST}[20s]))"
_SUM = "sum by (instance_id) (rate(jobs_total[20s]))"
_SIBLINGS = f"{_SUM} == 0 and on (asg) avg by (asg) (jobs) > 1"


def _check(folder: Path, expr: str, *recheck: str, verify: str = f"{_RATE} > bool 0") -> RuleCheck:
    rules = folder / "rules"
    rules.mkdir()
    (rules / "worker.yml").write_text(_RULES.format(expr=expr))
    named = {"HOST": 'instance_id="$instance_id"', "GROUP": 'asg="$asg"'}
    lines = "\n".join(f"  - {condition}" for condition in recheck) or "  []"
    text = _PLAYBOOK.format(recheck=lines, verify=verify)
    for short, matcher in named.items():
        text = text.replace(short, matcher)
    (folder / "worker.yaml").write_text(text)
    return check_rules(folder, load_rules(rules))


def _messages(result: RuleCheck) -> list[str]:
    return [finding.message for finding in result.findings]


@pytest.mark.parametrize(
    ("expr", "recheck"),
    [
        (f"{_SUM} == 0", [f"{_RATE} == bool 0"]),
        (f"{_SUM} > 2", [f"{_RATE} > bool 3"]),
        (f"{_SUM} > 2", [f"{_RATE} == bool 3"]),
        (f"2 < {_SUM}", [f"{_RATE} > bool 2"]),
        (f"{_SUM} <= 14.4 * 0.5", [f"{_RATE} < bool 7.2"]),
        ("up == 0", ["max(max_over_time(up{HOST}[10s])) == bool 0"]),
        ("up == 0 or down == 1", ["max(down{HOST}) == bool 1"]),
        ("up == 0 unless on (instance_id) held", ["up{HOST} == 0 unless held{HOST}"]),
        (
            "up == 0 unless on (instance_id) held == 1",
            ["(up{HOST} == bool 0) * (absent(held{HOST} == 1) or vector(0))"],
        ),
        ("up offset 3m", ["count(up{HOST} offset 3m) > bool 0"]),
        (
            f"{_SUM} == 0 and on (asg) asg:jobs:rate > 1",
            [f"{_RATE} == bool 0", "asg:jobs:rate{GROUP} > bool 1"],
        ),
        (_SIBLINGS, [f"({_RATE} == bool 0) * (avg(jobs{{GROUP}}) > bool 1)"]),
    ],
)
def test_a_recheck_that_implies_its_rule_has_no_finding(
    tmp_path: Path, expr: str, recheck: list[str]
) -> None:
    """In any of the forms that PromQL has for it."""
    assert _messages(_check(tmp_path, expr, *recheck)) == []


@pytest.mark.parametrize(
    ("expr", "recheck", "lacking"),
    [
        # The siblings' half; another bound, direction, window; the host in place of the group.
        (_SIBLINGS, [f"{_RATE} == bool 0"], ["avg by (asg) (jobs) > 1"]),
        ("up > 3", ["max(up{HOST}) > bool 2"], ["up > 3"]),
        ("up > 3", ["max(up{HOST}) < bool 3"], ["up > 3"]),
        ("max_over_time(up[5m]) == 1", ["max(up{HOST}) == bool 1"], ["max_over_time(up[5m]) == 1"]),
        ("avg by (asg) (jobs) > 1", ["max(jobs{HOST}) > bool 1"], ["avg by (asg) (jobs) > 1"]),
        ("avg by (asg) (jobs) > 1", ["sum(jobs{GROUP}) > bool 1"], ["avg by (asg) (jobs) > 1"]),
        ('up{job="node"} == 0', ["max(up{HOST}) == bool 0"], ['up{job="node"} == 0']),
        ("up == 0", ['max(up{instance_id="i-1"}) == bool 0'], ["up == 0"]),
        ("up == 0 unless on (instance_id) held", ["max(up{HOST}) == bool 0"], ["unless held"]),
        # Always true, or true by another alternative.
        ("up == 0", ["vector(1) == bool 1"], ["up == 0"]),
        ("up == 0", ["max(up{HOST}) == 0 or vector(1)"], ["up == 0"]),
        ("up == 0", ["(max(up{HOST}) == bool 0) + 1"], ["up == 0"]),
        ("up == 0", ["(max(up{HOST}) == bool 0) + (max(jobs{HOST}) > bool 0)"], ["up == 0"]),
    ],
)
def test_a_weaker_recheck_is_a_finding(
    tmp_path: Path, expr: str, recheck: list[str], lacking: list[str]
) -> None:
    """By the conjuncts that it lacks, at the line of `recheck`."""
    result = _check(tmp_path, expr, *recheck)
    assert _messages(result) == [
        f"recheck: lacks this condition of the rule WorkerStuck: {text}" for text in lacking
    ]
    assert str(result.findings[0]).startswith(f"{tmp_path / 'worker.yaml'}:4: ")


def test_a_recheck_by_the_model_needs_no_rule(tmp_path: Path) -> None:
    """The model is what confirms there."""
    assert _messages(_check(tmp_path, "up == 0")) == []


def test_what_cannot_be_compared_is_a_finding(tmp_path: Path) -> None:
    """No rule that matches, and no PromQL, on either side."""
    condition = "max(up{HOST}) == bool 0"
    result = _check(tmp_path, "up ==", condition)
    (rule, playbook) = map(str, result.findings)
    assert rule.startswith(f"{tmp_path}/rules/worker.yml:6: expr: not PromQL")
    assert playbook.endswith("the playbook matches none of the alert rules")
    (tmp_path / "rules" / "worker.yml").write_text("groups: 3\n")
    faults = check_rules(tmp_path, load_rules(tmp_path / "rules")).findings
    assert "worker.yml:1: not a rule file" in str(faults[0])
    empty = tmp_path / "none"
    assert "no rule file" in str(load_rules(empty).findings[0])


def test_a_recheck_that_is_no_promql_is_a_finding(tmp_path: Path) -> None:
    assert _messages(_check(tmp_path, "up == 0", "up ==="))[0].startswith("recheck: not PromQL")


def test_an_expression_of_endless_alternatives_is_refused() -> None:
    """Each `or` doubles them."""
    text = " and ".join(f"(a{number} or b{number})" for number in range(12))
    with pytest.raises(PromqlError, match="too many"):
        TermReader(records={}, of_rule=True).alternatives(parse(text))


@pytest.mark.parametrize(
    ("verify", "warnings"),
    [
        (f"{_RATE} > bool 0", []),
        (
            "min(up{GROUP}) == bool 1",
            [
                "verify: reads none of the alert's metrics: jobs_total",
                "verify: does not name the target ($selector)",
            ],
        ),
        ("asg:jobs:rate{GROUP} > bool 1", ["verify: does not name the target ($selector)"]),
    ],
)
def test_a_verify_that_proves_something_else_is_a_warning(
    tmp_path: Path, verify: str, warnings: list[str]
) -> None:
    """A recovery is counted by it."""
    result = _check(tmp_path, f"{_SUM} == 0", f"{_RATE} == bool 0", verify=verify)
    assert [warning.message for warning in result.warnings] == warnings
    assert _messages(result) == []
