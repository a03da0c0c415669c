"""Playbooks: what can be said in them, what is refused with its line, and their own tests."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from actions.assurance.iam_policy import build_policy, with_reversals
from actions.aws.tags import OPT_IN_TAG
from actions.catalog.registry import CATALOG
from demo.stack import tools
from receiver.cli.reference import generate
from receiver.playbook_testing import runner
from receiver.playbooks.conditions import (
    ConditionError,
    Facts,
    GroupFacts,
    RunFacts,
    TargetFacts,
    VerdictFacts,
    condition,
)
from receiver.playbooks.loader import InvalidPlaybooksError, load
from receiver.playbooks.placeholders import EXAMPLES, render
from receiver.playbooks.schema import EDITION
from tests.models.fleet_fixtures import judge

_ROOT = Path(__file__).parents[2]
_EXAMPLE = """
name: runaway-process
match: ['alertname="HighCPU"', 'severity=~"warning|critical"']
mode: auto
steps:
  - action: reboot_instance
    when: verdict.answer == "confirmed" and not group.surging
"""


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        (tmp_path / "example.yaml").write_text(text)
        return tmp_path

    return write


def _faults(folder: Path) -> list[str]:
    with pytest.raises(InvalidPlaybooksError) as caught:
        load(folder)
    return [f"{finding.line}: {finding.message}" for finding in caught.value.findings]


def test_another_default_is_another_edition(written: Callable[[str], Path]) -> None:
    """What was armed under the old one would go further than people said it may."""
    (loaded,) = load(written(_EXAMPLE)).items
    defaults = loaded.model_dump(
        mode="json", exclude={"name", "description", "match", "steps", "mode"}
    )
    limits = {
        "target_per_hour": 3,
        "target_per_day": 7,
        "group_per_hour": 10,
        "playbook_per_hour": 30,
        "blast_radius": 10.0,
        "min_healthy": None,
        "storm": {"share": 20.0, "at_least": 3},
        "relapse_s": 1800.0,
    }
    first: dict[str, Any] = {
        "cooldown_s": 300.0,
        "window": None,
        "approval_s": 1800.0,
        "recheck": [],
        "facts": {},
        "undecided": {"reversible": "refuse", "destructive": "refuse"},
        "limits": limits,
        "verify": None,
        "rollback": False,
        "standalone": False,
        "ignores_dependencies": False,
        "holdout": None,
        "escalate": [],
    }
    # With another default, raise the edition and write down both here.
    assert (EDITION, defaults) == (1, first)


def test_a_capture_by_default_is_armed_with_its_step(written: Callable[[str], Path]) -> None:
    """As if it were written out: what is done before a step is part of what people allow."""
    step = "  - action: reboot_instance\n"
    plain = _EXAMPLE[: _EXAMPLE.index("steps:")] + "steps:\n" + step
    (by_default,) = load(written(plain)).items
    (added,) = by_default.steps[0].preparation
    wait_s = added.params["wait_s"]
    before = "    before: [{action: capture, params: {wait_s: WAIT}}]\n"
    (written_out,) = load(written(plain + before.replace("WAIT", str(wait_s)))).items
    (another,) = load(written(plain + before.replace("WAIT", str(5 - wait_s)))).items
    assert by_default.digest == written_out.digest != another.digest


def test_the_shortest_playbook_loads(written: Callable[[str], Path]) -> None:
    """Name, matchers, mode and one step are enough."""
    (loaded,) = load(written(_EXAMPLE)).items
    assert loaded.matches({"alertname": "HighCPU", "severity": "critical"})
    assert not loaded.matches({"alertname": "HighCPU", "severity": "info"})


@pytest.mark.parametrize(
    ("line", "becomes", "fault"),
    [
        ("reboot_instance", "reboot_instanse", "6: action: unknown action 'reboot_instanse'"),
        ("mode: auto", "mode: always", "4: mode: "),
        ("mode: auto", "limits: {blast_radius: 200%}", "4: blast_radius: write a percentage"),
        ("mode: auto", "undecided: {destructive: act}", "4: destructive: "),
        ("mode: auto", "colour: red", "4: colour: "),
        ("mode: auto", "cooldown: soon", "4: cooldown: 'soon' is not a duration"),
        ("mode: auto", "cooldown: .inf", "4: cooldown: "),
        ("mode: auto", "approval: 99999999999999h", "4: approval: "),
        ("mode: auto", "<<: {colour: red}", "colour: "),
        ("mode: auto", "recheck: ['up{x=\"$secret\"}']", "the only placeholders are"),
        ("mode: auto", "facts: {Bad: up}", "4: "),
        ("mode: auto", "escalate: [{action: reboot_instance}]", "does more than notify people"),
        ("group.surging", "group.surgin", "7: when: "),
        ("not group.surging", 'labels.a =~ "(a+)+$"', "7: when: =~ is not allowed"),
        ("- action: reboot_instance", "- action: scale_in", "desired: Field required"),
        (
            "- action: reboot_instance",
            "- {action: restart_service, params: {service: 'a; rm'}}\n  - action: reboot_instance",
            "6: service: ",
        ),
        (
            "- action: reboot_instance",
            "- {action: run_document, params: {document: AWS-Run}}\n  - action: reboot_instance",
            "6: document: ",
        ),
        *(
            (
                "- action: reboot_instance",
                f"- action: {action}\n    params: {{{params}}}\n  - action: reboot_instance",
                "7: params: ",
            )
            for action, params in (
                ("quarantine_instance", "security_group: sg-00000000"),
                ("quarantine_instance", "security_group: sg-0123456789abcdef0"),
                ("emergency_shutdown", "security_group: <your group>"),
                ("notify", "to: TODO, message: x"),
                ("page", "topic: 'arn:aws:sns:eu-west-1:123456789012:oncall', message: x"),
                ("run_document", "document: SmartCloudOps-X, parameters: {Path: changeme}"),
            )
        ),
    ],
)
def test_a_fault_is_named_with_its_line(
    written: Callable[[str], Path], line: str, becomes: str, fault: str
) -> None:
    """As the command line and the service say it."""
    text = _EXAMPLE.replace(line, becomes)
    assert text != _EXAMPLE
    messages = _faults(written(text))
    assert any(fault in message for message in messages), messages


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("x: " + "[" * 60_000, "1: nested more than"),
        ("- " * 30_000, "1: nested more than"),
        ("a: &a [1]\nb: [*a, *a]", "1: anchors"),
        ("%YAML 1.1\n---\nname: 1" + ":59" * 15_000, "1: directives"),
        ("\nname: !!bool abc", "2: tags"),
        ('name: "\\UFFFFFFFF"', "1: not YAML"),
        ('name: x\ndescription: "\\ud800"', "2: a surrogate escape"),
        ("name: " + "9" * 60_000, "1: not YAML"),
        ("#" * 70_000, "1: the file is larger"),
        (_EXAMPLE.replace("mode: auto", f"cooldown: {'9' * 400}h"), "4: cooldown: "),
        (_EXAMPLE.replace('severity=~"', "x=" + " " * 60_000 + "{"), "3: 1: "),
    ],
)
def test_a_hostile_file_is_a_finding_within_seconds(
    written: Callable[[str], Path], text: str, fault: str
) -> None:
    """Neither a traceback nor a wait without an end."""
    assert any(message.startswith(fault) for message in _faults(written(text))), _faults(
        written(text)
    )


def test_labels_never_reach_a_parameter(written: Callable[[str], Path]) -> None:
    """Only ids that have passed their pattern are filled in."""
    step = "- {action: restart_service, params: {service: $alertname}}"
    assert _faults(
        written(_EXAMPLE.replace("- action: reboot_instance", step).replace("    when", "#"))
    )


def test_the_shipped_playbooks_pass_their_own_tests() -> None:
    """Every one of them has some."""
    folder = _ROOT / "playbooks"
    loaded = load(folder)
    report = runner.run(folder, loaded, judge)
    assert report.findings == []
    tested = {path.stem for path in (folder / "tests").glob("*.yaml")}
    assert {playbook.name for playbook in loaded.items} == tested


_SERVES, _STANDS, _STOPPED = "0+50x40", "5000x40", "0+50x12 600x28"


@pytest.mark.parametrize(
    ("up", "requests", "siblings", "expected"),
    [
        ("1x40", _STOPPED, _SERVES, 1),
        ("0x40", _STANDS, _SERVES, 1),
        ("0x40", None, None, 1),
        ("1x40", _SERVES, _SERVES, 0),
        # An idle group, and a host that never had traffic: nothing hangs.
        ("1x40", _STANDS, _STANDS, 0),
        ("1x40", _STOPPED, _STOPPED, 0),
        ("1x40", _STANDS, _SERVES, 0),
        ("1x40", None, _SERVES, None),
        (None, None, None, None),
    ],
)
def test_a_service_that_is_down_or_hangs_is_confirmed(
    tmp_path: Path,
    up: str | None,
    requests: str | None,
    siblings: str | None,
    expected: int | None,
) -> None:
    """By the shipped playbook's own re-check, as Prometheus reads it."""
    playbooks = load(_ROOT / "playbooks").items
    ((recheck,),) = (book.recheck for book in playbooks if book.name == "service-down")
    host = EXAMPLES["instance_id"]
    series = [
        ("service_up", host, up),
        ("service_requests_total", host, requests),
        ("service_requests_total", "i-1", siblings),
    ]
    samples = [] if expected is None else [{"labels": "{}", "value": expected}]
    query = {"expr": render(recheck, EXAMPLES), "eval_time": "2m", "exp_samples": samples}
    case = {
        "interval": "5s",
        "input_series": [
            {"series": f'{name}{{instance_id="{instance}",asg="web-asg"}}', "values": values}
            for name, instance, values in series
            if values is not None
        ],
        "promql_expr_test": [query],
    }
    file = tmp_path / "test.yml"
    file.write_text(json.dumps({"evaluation_interval": "5s", "tests": [case]}))
    result = subprocess.run(
        [tools.find("promtool"), "test", "rules", file], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_alert_that_may_be_healed_has_one_playbook() -> None:
    """Each rule with a class of remediation is matched by just one."""
    loaded = load(_ROOT / "playbooks")
    for file in (_ROOT / "prometheus_rules").glob("*.yml"):
        for group in YAML(typ="safe").load(file.read_text())["groups"]:
            for rule in group["rules"]:
                if "remediation" in rule.get("labels", {}):
                    labels = {"alertname": rule["alert"], **rule["labels"]}
                    assert len(loaded.matching(labels)) == 1, rule["alert"]


def test_what_fails_is_reported_with_file_and_line(
    written: Callable[[str], Path], tmp_path: Path
) -> None:
    """A wrong expectation, and a test that cannot be read."""
    folder = written(_EXAMPLE)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "wrong.yaml").write_text(
        "tests:\n"
        "  - name: it is left alone\n"
        "    alert: {alertname: HighCPU, severity: warning, asg: web, instance_id: i-01234567}\n"
        "    expect: {decision: refuse}\n"
        "  - name: no match\n"
        "    alert: {alertname: Other}\n"
        "    expect: {decision: refuse, refusal: no_playbook}\n"
    )
    (tmp_path / "tests" / "broken.yaml").write_text(
        "tests:\n  - name: x\n    alert: {}\n    expect: {decision: perhaps}\n"
    )
    report = runner.run(folder, load(folder), judge)
    assert report.passed == 1
    findings = [str(finding) for finding in report.findings]
    wrong = "wrong.yaml:2: it is left alone: expected refuse, got act"
    assert any("broken.yaml:4: decision" in finding for finding in findings)
    assert any(wrong in finding for finding in findings)


_LABEL = st.text(max_size=20)


@given(st.dictionaries(_LABEL, _LABEL, max_size=5), _LABEL)
def test_hostile_labels_only_ever_compare(labels: dict[str, str], text: str) -> None:
    """Whatever a label holds, a condition over it is true, false or unknown."""
    facts = Facts(
        verdict=VerdictFacts(answer="confirmed", score=1.0, confidence=None),
        group=GroupFacts(**dict.fromkeys(GroupFacts.__dataclass_fields__)),
        target=TargetFacts(id=None, kind=None, az=None, age_s=None),
        labels={**labels, "team": text},
        facts={"cpu": 0.5},
        run=RunFacts(rung=0),
    )
    assert condition('labels["team"] == "web"').evaluate(facts) is (text == "web")
    assert condition('labels["nobody"] == ""').evaluate(facts) is (
        "nobody" not in labels or labels["nobody"] == ""
    )
    assert condition('facts["cpu"] > 0.4').evaluate(facts) is True
    assert condition('facts["memory"] > 0.4').evaluate(facts) is None
    assert condition("group.surging or true").evaluate(facts) is None


@pytest.mark.parametrize(
    "text",
    [
        'facts["odd"] > 0.4',
        'labels["team"].to_flt > 0.4',
        'labels["zeros"].to_flt > 0.4',
        'labels["long"].to_flt > 0.4',
        'not (verdict.score ? verdict.score : labels["team"]).length',
        'not (verdict.score ? verdict.score : labels["team"]).real',
    ],
)
def test_a_condition_over_what_is_something_else_is_unknown(text: str) -> None:
    """NaN, a label that is no number, and what only a text, or only Python's own number, has."""
    facts = Facts(
        verdict=VerdictFacts(answer="confirmed", score=1.0, confidence=None),
        group=GroupFacts(**dict.fromkeys(GroupFacts.__dataclass_fields__)),
        target=TargetFacts(id=None, kind=None, az=None, age_s=None),
        labels={"team": "web", "zeros": "007", "long": "9" * 8000},
        facts={"odd": float("nan")},
        run=RunFacts(rung=0),
    )
    assert condition(text).evaluate(facts) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "open('x')",
        "$now > 1",
        "x" * 2000,
        "labels",
        "verdict.answer",
        "-" * 900 + "1 > 0",
        't"P99999999999D" > t"P1D"',
        "1 << 100000000 > 1",
        "10 ** 10 ** 10 > 1",
        "(1e999999).ceiling > 1",
        'labels["team"].to_flt.ceiling > 1',
        'labels["team"] !~ "(a+)+b"',
        "[a for a in [b for b in [1]]] == [1]",
    ],
)
def test_what_is_no_condition_is_refused(text: str) -> None:
    """At load, with the reason."""
    with pytest.raises(ConditionError):
        condition(text)


def test_generated_pages_are_current() -> None:
    """`make reference` writes them."""
    assert (_ROOT / generate.ACTIONS_PAGE).read_text() == generate.actions_page()
    written = json.loads((_ROOT / generate.SCHEMA).read_text())
    assert written == json.loads(json.dumps(generate.playbook_schema()))


@pytest.mark.parametrize("name", sorted(CATALOG))
def test_a_policy_grants_what_its_action_needs_and_no_more(name: str) -> None:
    """With its undoing; changes to instances and groups only with the opt-in tag."""
    document = build_policy([name])
    granted = {grant for s in document["Statement"] for grant in s["Action"]}
    needed = {right for action in with_reversals([name]) for right in action.permissions}
    assert needed <= granted
    writes = {grant for s in document["Statement"][1:] for grant in s["Action"]}
    assert writes <= needed
    for statement in document["Statement"][1:]:
        for grant in statement["Action"]:
            if grant.startswith("autoscaling:"):
                assert OPT_IN_TAG in str(statement["Condition"])
