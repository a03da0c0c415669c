"""Alerts with the names that public rule sets give them find a playbook, or a page says why not."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from actions.refusal import Refusal
from receiver.cli.reference.pages import public_page
from receiver.decision.guards.alert import require_one_playbook
from receiver.decision.guards.base import GuardInput
from receiver.evidence.roles.of_alert import roles_of_alert
from receiver.playbooks.loader import load
from receiver.playbooks.public_alerts import public_alerts, why_no_playbook

_ROOT = Path(__file__).parents[2]
_PLAYBOOKS = load(_ROOT / "playbooks")
_NAMES = [name for names in public_alerts().sets.values() for name in names]
# As in the two sets; severity as it is there.
_OF_PLAYBOOKS = {
    "HostHighCpuLoad": "high-cpu",
    "NodeSystemSaturation": "high-cpu",
    "HostOutOfMemory": "memory",
    "NodeMemoryHighUtilization": "memory",
    "HostOutOfDiskSpace": "disk-full",
    "NodeFilesystemAlmostOutOfSpace": "disk-full",
    "HostDiskWillFillIn24Hours": "disk-filling",
    "HostDiskMayFillIn24Hours": "disk-filling",
    "NodeFilesystemSpaceFillingUp": "disk-filling",
    "HostOutOfInodes": "inodes-full",
    "HostInodesWillFillIn24Hours": "inodes-full",
    "HostInodesMayFillIn24Hours": "inodes-full",
    "NodeFilesystemAlmostOutOfFiles": "inodes-full",
    "NodeFilesystemFilesFillingUp": "inodes-full",
    "HostSystemdServiceCrashed": "unit-failed",
    "NodeSystemdServiceFailed": "unit-failed",
    "NodeSystemdServiceCrashlooping": "unit-restarting",
    "HostOomKillDetected": "oom-kill",
    "HostClockSkew": "clock",
    "HostClockNotSynchronising": "clock",
    "NodeClockSkewDetected": "clock",
    "NodeClockNotSynchronising": "clock",
    "HostCpuStealNoisyNeighbor": "cpu-steal",
    "NodeFileDescriptorLimit": "file-descriptors",
}


@pytest.mark.parametrize(("name", "playbook"), _OF_PLAYBOOKS.items())
def test_an_alert_of_a_public_set_finds_its_playbook(name: str, playbook: str) -> None:
    labels = {"alertname": name, "severity": "warning", "instance": "10.0.0.4:9100"}
    assert [found.name for found in _PLAYBOOKS.matching(labels)] == [playbook]


def test_each_public_alert_has_a_playbook_or_a_reason() -> None:
    """Just one of both; the page tells it of each."""
    page = (_ROOT / "docs" / "public-rules.md").read_text()
    assert page == public_page(_ROOT)
    for name in _NAMES:
        matching = _PLAYBOOKS.matching({"alertname": name, "severity": "warning"})
        assert len(matching) == (name in _OF_PLAYBOOKS), name
        assert bool(why_no_playbook(name)) is not bool(matching), name
        assert re.search(rf"\b{name}\b", page), name
    assert len(_NAMES) == len(set(_NAMES))
    assert {*_OF_PLAYBOOKS} < {*_NAMES}


def test_a_run_says_why_no_playbook_is_right() -> None:
    """An alert of anybody's own has no reason of ours."""
    inputs = SimpleNamespace(playbooks=[], trigger=SimpleNamespace(labels={}))
    for name, detail in (
        ("NodeRAIDDegraded", "no playbook matches the alert's labels: hardware"),
        ("Mine", "no playbook matches the alert's labels"),
    ):
        inputs.trigger.labels = {"alertname": name}
        refusal = require_one_playbook(cast("GuardInput", inputs))
        assert isinstance(refusal, Refusal)
        assert refusal.detail.partition(";")[0] == detail


def test_the_model_weighs_what_the_alert_is_about() -> None:
    """Alerts whose playbook has no re-check of its own."""
    for name, playbook in _OF_PLAYBOOKS.items():
        (found,) = _PLAYBOOKS.named(playbook)
        assert found.recheck or roles_of_alert({"alertname": name}), name


def test_the_job_of_the_exporter_is_in_one_place() -> None:
    """Of the settings; no shipped playbook has a job of its own."""
    for playbook in load(_ROOT / "playbooks", "node-exporter").items:
        text = str(playbook.model_dump())
        assert 'job="node"' not in text
        assert "$job" not in text
    (down,) = load(_ROOT / "playbooks", "node-exporter").named("instance-down")
    assert 'up{job="node-exporter",$selector}' in down.recheck[0]
    assert down.digest != _PLAYBOOKS.named("instance-down")[0].digest
