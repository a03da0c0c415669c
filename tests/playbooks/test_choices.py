"""A label of an alert chooses a param from the list that the playbook closes, and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from receiver.playbooks.choices import NotListedError, check_choices, chosen, variants
from receiver.playbooks.iam_scope import narrowed_policy
from receiver.playbooks.loader import InvalidPlaybooksError, load

_PLAYBOOK = """
name: unit
match: ['alertname="UnitFailed"']
recheck: [up]
steps:
  - action: ACTION
    params: PARAMS
"""


def _load(folder: Path, action: str, params: str) -> Any:
    text = _PLAYBOOK.replace("ACTION", action).replace("PARAMS", params)
    (folder / "unit.yaml").write_text(text)
    return load(folder)


def test_the_label_chooses_what_is_listed() -> None:
    """At any depth; as it is, or as the value that the list has for it."""
    value = {
        "document": "Clean",
        "parameters": {"Path": {"from": "mountpoint", "one_of": ["/var/log", "/srv/cache"]}},
        "units": [{"from": "name", "one_of": {"nginx.service": "nginx"}}],
    }
    labels = {"mountpoint": "/srv/cache", "name": "nginx.service"}
    assert chosen(check_choices(value), labels) == {
        "document": "Clean",
        "parameters": {"Path": "/srv/cache"},
        "units": ["nginx"],
    }
    assert [found["parameters"]["Path"] for found in variants(value)] == ["/var/log", "/srv/cache"]


@pytest.mark.parametrize("text", ["", "nginx; reboot", "nginx.service ", "$(id)", "sshd.service"])
def test_no_other_text_gets_through(text: str) -> None:
    choice = {"service": {"from": "name", "one_of": {"nginx.service": "nginx"}}}
    with pytest.raises(NotListedError, match="the label name has"):
        chosen(choice, {"name": text} if text else {})


@pytest.mark.parametrize(
    ("params", "finding"),
    [
        ("{service: {from: name, one_of: []}}", "a choice is"),
        ("{service: {from: 7, one_of: [a]}}", "a choice is"),
        ("{service: {from: name, one_of: [7]}}", "a choice is"),
        ("{service: {from: name, one_of: a}}", "a choice is"),
        ("{service: {from: name, one_of: [nginx, 'a b']}}", "service: String should match"),
        ("{service: {from: name, one_of: {nginx.service: 'a;b'}}}", "service: String should"),
        ("{service: {from: name, one_of: {nginx.service: []}}}", "service: Input should be"),
    ],
)
def test_each_listed_text_must_suit_the_action(tmp_path: Path, params: str, finding: str) -> None:
    """When the playbook is loaded, not when the alert comes."""
    with pytest.raises(InvalidPlaybooksError, match=finding):
        _load(tmp_path, "restart_service", params)


def test_a_listed_text_may_stand_for_a_list() -> None:
    """As a parameter of type StringList takes it; equal ones are one variant."""
    units = {"web": ["nginx", "app"], "web2": ["nginx", "app"], "db": ["mysqld"]}
    value = {"parameters": {"Units": {"from": "name", "one_of": units}}}
    assert [found["parameters"]["Units"] for found in variants(check_choices(value))] == [
        ["nginx", "app"],
        ["mysqld"],
    ]
    assert chosen(value, {"name": "db"}) == {"parameters": {"Units": ["mysqld"]}}


def test_the_policy_covers_each_listed_document(tmp_path: Path) -> None:
    params = "{document: {from: unit, one_of: [SmartCloudOps-A, SmartCloudOps-B]}}"
    playbooks = _load(tmp_path, "run_document", params)
    policy = narrowed_policy(playbooks, region=None, account=None, groups=())
    assert {"SmartCloudOps-A", "SmartCloudOps-B"} <= {
        name
        for statement in policy["Statement"]
        for name in str(statement["Resource"]).replace("'", "/").split("/")
    }
