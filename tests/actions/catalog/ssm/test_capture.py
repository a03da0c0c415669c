"""What is captured of a target before a step, where it is kept, and what it may not do."""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actions.assurance.iam_policy import build_policy
from actions.audit.archive import FolderArchive
from actions.audit.captures import Captures
from actions.base import Call
from actions.catalog.registry import CATALOG
from actions.evidence import EvidenceError
from demo.aws.clients import clients
from demo.aws.faults import InjectedFault
from demo.aws.world import target_group_arn
from receiver.runtime.redaction import Redaction
from tests.actions.catalog.catalog_fixtures import GROUP, World
from tests.conftest import Clock

_CAPTURE = CATALOG["capture"]
_SECRET = "AKIAABCDEFGHIJKLMNOP"


def _store(folder: Path) -> Captures:
    return Captures(archive=lambda: FolderArchive(folder), redact=Redaction(), clock=Clock())


def _act(call: Call) -> dict[str, Any]:
    """What comes next of it: the first two calls, or what the host said."""
    made = _CAPTURE.act(call)
    return dict(made if call.made else _CAPTURE.act(replace(call, made=made)))


def _kept(folder: Path, made: dict[str, Any], part: str) -> dict[str, Any]:
    (kept,) = [item for item in made["objects"] if part in item["name"]]
    content: dict[str, Any] = json.loads(_store(folder).read(kept["name"], kept["sha256"]))
    return content


def test_what_aws_and_the_host_show_is_kept(tmp_path: Path) -> None:
    world = World()
    call = replace(world.call(), evidence=_store(tmp_path))
    made = _act(call)
    assert _CAPTURE.next_call(replace(call, made=made)) is None
    world.clock.now += 5
    following = _CAPTURE.next_call(replace(call, made=made))
    assert following is not None
    made = _act(replace(call, made=following))
    assert _CAPTURE.next_call(replace(call, made=made)) is None
    shown, said = _kept(tmp_path, made, "-aws"), _kept(tmp_path, made, "-host")
    assert base64.b64decode(shown["screenshot_jpg"]).startswith(b"\xff\xd8")
    assert world.host.id in shown["console_output"]
    (health,) = shown["group"]["target_health"]
    assert health["Target"]["Id"] == world.host.id
    assert "SmartCloudOps-Capture" in said["host"]["output"]
    assert (made["missing"], len(world.sent("SendCommand"))) == ({}, 1)


def test_what_is_known_is_not_asked_again(tmp_path: Path) -> None:
    """Its group's target groups by the decision, and the output that ended the wait for it."""
    world = World()
    known = [target_group_arn("web")]
    call = replace(world.call(), evidence=_store(tmp_path), target_groups=known)
    made = _act(call)
    (health,) = _kept(tmp_path, made, "-aws")["group"]["target_health"]
    assert (health["target_group"], health["Target"]["Id"]) == (known[0], world.host.id)
    world.clock.now += 5
    last = replace(call, made=made)
    assert _CAPTURE.next_call(last) is not None
    assert "host" in _kept(tmp_path, _act(last), "-host")
    read = [call.operation for call in world.emulator.log]
    assert (read.count("GetCommandInvocation"), "DescribeAutoScalingGroups" in read) == (1, False)


def test_of_a_group_there_is_no_console(tmp_path: Path) -> None:
    world = World()
    made = _act(replace(world.call(GROUP), evidence=_store(tmp_path)))
    shown = _kept(tmp_path, made, "-aws")
    assert len(shown["group"]["target_health"]) == 6
    assert "console_output" not in shown
    assert "command_id" not in made


def test_older_instance_types_have_what_was_kept_at_their_start(tmp_path: Path) -> None:
    world = World()
    world.host.nitro = False
    made = _act(replace(world.call(), evidence=_store(tmp_path)))
    assert world.host.id in _kept(tmp_path, made, "-aws")["console_output"]


def test_without_its_agent_a_host_is_asked_nothing(tmp_path: Path) -> None:
    world = World()
    world.host.agent = "ConnectionLost"
    made = _act(replace(world.call(), evidence=_store(tmp_path)))
    assert "SendCommand" not in world.emulator.operations()
    assert "not online" in made["missing"]["host"]
    assert made["objects"]


def test_what_fails_is_recorded_and_the_rest_is_kept(tmp_path: Path) -> None:
    world = World()
    for operation in ("GetConsoleScreenshot", "DescribeTargetHealth", "SendCommand"):
        world.emulator.faults.inject(InjectedFault(operation=operation, kind="error"))
    made = _act(replace(world.call(), evidence=_store(tmp_path)))
    assert set(made["missing"]) == {"host", "screenshot_jpg", "group"}
    assert _kept(tmp_path, made, "-aws").keys() == {"target", "console_output"}


def test_an_archive_that_takes_nothing_is_said(tmp_path: Path) -> None:
    folder = tmp_path / "full"
    folder.write_text("no folder")
    made = _act(replace(World().call(), evidence=_store(folder)))
    assert (made["objects"], "full" in made["missing"]["aws"]) == ([], True)


def test_secrets_are_removed_and_it_has_at_most_a_megabyte(tmp_path: Path) -> None:
    store = _store(tmp_path)
    content = {"text": f"key {_SECRET} " + "x" * 90_000 + f" {_SECRET}", "picture": bytes(900_000)}
    kept = store.keep("a.json", content | {"list": [{"password": f"password={_SECRET}"}]})
    data = store.read("a.json", kept["sha256"])
    assert len(data) == kept["bytes"] <= 1_000_000
    assert _SECRET.encode() not in data
    assert json.loads(data)["picture"] == "left out: too large"


def test_what_was_changed_since_is_not_shown(tmp_path: Path) -> None:
    store = _store(tmp_path)
    kept = store.keep("a.json", {"text": "x"})
    (tmp_path / "captures" / "a.json").write_text("{}")
    with pytest.raises(EvidenceError, match="not what was captured"):
        store.read("a.json", kept["sha256"])


def test_iam_lets_it_with_the_policy_alone(tmp_path: Path) -> None:
    """Without the line of the command there is the rest."""
    world = World()
    whole = build_policy(["capture"])
    call = replace(world.call(), evidence=_store(tmp_path), aws=clients(world.emulator, key="own"))
    world.emulator.policies["own"] = whole
    assert _act(call)["missing"] == {}
    reads = [each for each in whole["Statement"] if each["Sid"] == "Read"]
    world.emulator.policies["own"] = {**whole, "Statement": reads}
    assert set(_act(replace(call, token=f"{call.token}1"))["missing"]) == {"host"}
