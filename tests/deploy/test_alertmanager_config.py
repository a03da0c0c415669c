import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from demo.stack import tools

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "alertmanager" / "alertmanager.yml"


def amtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [tools.find("amtool"), *arguments], capture_output=True, text=True, check=False
    )


def load(path: Path) -> Any:
    return YAML(typ="safe").load(path)


def alert_rules() -> list[dict[str, Any]]:
    return [
        rule
        for path in sorted((ROOT / "prometheus_rules").glob("*.yml"))
        for group in load(path)["groups"]
        for rule in group["rules"]
        if "alert" in rule
    ]


def test_config_is_well_formed() -> None:
    """Alertmanager accepts the shipped configuration."""
    checked = amtool("check-config", CONFIG)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ("alertname=HighCPU severity=warning remediation=cpu", "smartcloudops,people"),
        ("alertname=InstanceDown severity=critical remediation=x", "smartcloudops,people"),
        ("alertname=CertificateExpires severity=critical", "people"),
        ("alertname=CertificateExpires severity=warning", "people"),
        ("alertname=Watchdog severity=none", "heartbeat"),
        ("alertname=Anything", "people"),
        ("alertname=Anything remediation=", "people"),
    ],
)
def test_an_alert_reaches_its_receivers(labels: str, receivers: str) -> None:
    """Remediable alerts reach the remediator; all but the heartbeat's reach people."""
    tested = amtool(
        "config",
        "routes",
        "test",
        f"--config.file={CONFIG}",
        f"--verify.receivers={receivers}",
        *labels.split(),
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_shipped_alert_reaches_people() -> None:
    """Each rule's class routes it to the remediator as well: no refusal of its own hides it.

    But for the one that always fires, which only the heartbeat gets.
    """
    for rule in alert_rules():
        labels = [f"{name}={value}" for name, value in rule["labels"].items()]
        labels.append(f"alertname={rule['alert']}")
        tested = amtool("config", "routes", "test", f"--config.file={CONFIG}", *labels)
        receivers = tested.stdout.strip().split(",")
        if rule["alert"] == "Watchdog":
            assert receivers == ["heartbeat"]
            continue
        assert ("smartcloudops" in receivers) == ("remediation" in rule["labels"])
        assert "people" in receivers


def test_inhibitions_name_alerts_that_exist() -> None:
    """An inhibition that names a renamed rule would do nothing."""
    rule_names = {rule["alert"] for rule in alert_rules()}
    named = {
        name
        for rule in load(CONFIG)["inhibit_rules"]
        for side in ("source_matchers", "target_matchers")
        for matcher in rule[side]
        if matcher.startswith("alertname")
        for name in matcher.split('"')[1].split("|")
    }
    assert named
    assert named <= rule_names


def test_delivery_settings_lose_nothing() -> None:
    """Resolves are sent, groups are not cut short, and a redirect cannot take the token away."""
    receivers = {receiver["name"]: receiver for receiver in load(CONFIG)["receivers"]}
    (webhook,) = receivers["smartcloudops"]["webhook_configs"]
    assert webhook["send_resolved"] is True
    assert webhook["max_alerts"] == 0
    assert webhook["http_config"]["follow_redirects"] is False
    assert webhook["http_config"]["authorization"]["type"] == "Bearer"
