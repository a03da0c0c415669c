import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from demo.stack import tools
from receiver.playbooks.loader import load

ROOT = Path(__file__).parents[2]
RULES = sorted((ROOT / "prometheus_rules").glob("*.yml"))
MAPPINGS = sorted((ROOT / "prometheus_rules" / "service_from").glob("*.yml"))
RULE_TESTS = sorted((ROOT / "prometheus_rules" / "tests").glob("*.yml"))


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [tools.find("promtool"), *arguments], capture_output=True, text=True, check=False
    )


def test_rules_are_well_formed() -> None:
    """Prometheus accepts every rule file, and its linter finds nothing."""
    for files in (RULES, *([path] for path in MAPPINGS)):
        checked = promtool("check", "rules", "--lint=all", "--lint-fatal", *files)
        assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_rules_fire_when_they_should(path: Path) -> None:
    """By the rules' timelines: which alerts fire, when, with which labels, and which never."""
    tested = promtool("test", "rules", path)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_rule_file_has_its_timelines() -> None:
    """Each shipped alert has tests in which it fires and stays silent."""
    tested = {path.name.removesuffix("_test.yml") for path in RULE_TESTS}
    assert {path.stem for path in RULES} <= tested


def test_production_config_is_well_formed() -> None:
    """Prometheus accepts the configuration that users start from."""
    checked = promtool("check", "config", "--syntax-only", ROOT / "deploy" / "prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_alerts_on_ourselves_are_for_people() -> None:
    """No playbook matches an alert of the remediator's own rules or of the model's."""
    playbooks = load(ROOT / "playbooks")
    for name in ("remediator", "model"):
        (group,) = YAML(typ="safe").load(ROOT / "prometheus_rules" / f"{name}.yml")["groups"]
        for rule in group["rules"]:
            assert "remediation" not in rule["labels"]
            labels = {"alertname": rule["alert"], **rule["labels"]}
            assert playbooks.matching(labels) == []
