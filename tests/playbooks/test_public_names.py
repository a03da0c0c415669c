"""Alerts with the names that public rule sets give them find a playbook, or a page says why not."""

import re
from pathlib import Path

import pytest

from models.features.signals import ROLES_OF_ALERT
from receiver.playbooks.loader import load

_ROOT = Path(__file__).parents[2]
_PLAYBOOKS = load(_ROOT / "playbooks")
_HAVE, _, _LACK = (_ROOT / "docs" / "public-rules.md").read_text().partition("The others")
_NAME = re.compile(r"\b(?:Host|Node)[A-Z][A-Za-z0-9]+")
# As in the two sets; severity as it is there.
_OF_PLAYBOOKS = {
    "HostHighCpuLoad": "high-cpu",
    "NodeSystemSaturation": "high-cpu",
    "NodeCPUHighUsage": "high-cpu",
    "HostOutOfMemory": "memory",
    "NodeMemoryHighUtilization": "memory",
    "HostOutOfDiskSpace": "disk-full",
    "HostDiskWillFillIn24Hours": "disk-full",
    "HostDiskMayFillIn24Hours": "disk-full",
    "NodeFilesystemAlmostOutOfSpace": "disk-full",
    "HostSystemdServiceCrashed": "unit-failed",
    "NodeSystemdServiceFailed": "unit-failed",
}


@pytest.mark.parametrize(("name", "playbook"), _OF_PLAYBOOKS.items())
def test_an_alert_of_a_public_set_finds_its_playbook(name: str, playbook: str) -> None:
    labels = {"alertname": name, "severity": "warning", "instance": "10.0.0.4:9100"}
    assert [found.name for found in _PLAYBOOKS.matching(labels)] == [playbook]


def test_the_page_says_which_have_one_and_why_the_others_have_none() -> None:
    assert set(_NAME.findall(_HAVE)) == set(_OF_PLAYBOOKS)
    others = set(_NAME.findall(_LACK)) - set(_OF_PLAYBOOKS)
    assert len(others) > 40
    for name in others:
        assert _PLAYBOOKS.matching({"alertname": name, "severity": "warning"}) == [], name


def test_the_model_weighs_what_the_alert_is_about() -> None:
    """Alerts whose playbook has no re-check of its own."""
    for name, playbook in _OF_PLAYBOOKS.items():
        (found,) = _PLAYBOOKS.named(playbook)
        assert found.recheck or name in ROLES_OF_ALERT, name


def test_the_job_of_the_exporter_is_in_one_place() -> None:
    """Of the settings; no shipped playbook has a job of its own."""
    for playbook in load(_ROOT / "playbooks", "node-exporter").items:
        text = str(playbook.model_dump())
        assert 'job="node"' not in text
        assert "$job" not in text
    (down,) = load(_ROOT / "playbooks", "node-exporter").named("instance-down")
    assert 'up{job="node-exporter",$selector}' in down.recheck[0]
    assert down.digest != _PLAYBOOKS.named("instance-down")[0].digest
