"""The Terraform: it parses, hangs together, and is as closed as the pages say."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hcl2
import pytest

from receiver.playbooks import iam_scope
from receiver.playbooks.loader import load
from receiver.settings import Settings

_ROOT = Path(__file__).parents[2]
_FOLDER = _ROOT / "deploy" / "terraform"
_FILES = sorted(_FOLDER.glob("*.tf"))
# The most that an inline policy of a role may have, white space left out.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
_POLICY_MOST = 10_240


def _plain(value: Any) -> Any:
    """Without the quotes that the parser leaves around texts."""
    if isinstance(value, dict):
        return {_plain(key): _plain(one) for key, one in value.items() if key != "__is_block__"}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value.strip('"') if isinstance(value, str) else value


def _blocks(kind: str) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Resources or data: their type, name and body."""
    for file in _FILES:
        with file.open() as opened:
            parsed = _plain(hcl2.load(opened))
        for block in parsed.get(kind, []):
            for first, rest in block.items():
                if kind in {"resource", "data"}:
                    for name, body in rest.items():
                        yield first, name, body
                else:
                    yield kind, first, rest


@pytest.fixture(scope="module")
def resources() -> dict[tuple[str, str], Mapping[str, Any]]:
    return {(kind, name): body for kind, name, body in _blocks("resource")}


def test_what_is_referred_to_is_there(
    resources: dict[tuple[str, str], Mapping[str, Any]],
) -> None:
    """And no variable is declared that nothing uses."""
    text = "".join(file.read_text() for file in _FILES)
    declared = {name for _, name, _ in _blocks("variable")}
    assert set(re.findall(r"\bvar\.(\w+)", text)) == declared
    data = {f"data.{kind}.{name}" for kind, name, _ in _blocks("data")}
    assert set(re.findall(r"\bdata\.aws_\w+\.\w+", text)) == data
    known = {f"{kind}.{name}" for kind, name in resources}
    without_data = re.sub(r"\bdata\.aws_\w+\.\w+", "", text)
    assert set(re.findall(r"\baws_\w+\.\w+", without_data)) <= known


def test_a_template_is_given_what_it_asks_for(
    resources: dict[tuple[str, str], Mapping[str, Any]],
) -> None:
    """Neither less nor more; and its settings are settings."""
    text = (_FOLDER / "user_data.sh.tftpl").read_text()
    given = str(resources["aws_instance", "service"]["user_data"]).partition(", {")[2]
    names = set(re.findall(r"[{,]?\s*(\w+)\s*[=:]\s", "{" + given))
    assert set(re.findall(r"\$\{(\w+)\}", text)) == names
    settings = set(re.findall(r"^#? ?SMARTCLOUDOPS_(\w+)=", text, re.MULTILINE))
    assert settings <= {name.upper() for name in Settings.model_fields}
    assert {"AUDIT_KEY_FILE", "AUDIT_ARCHIVE", "AUDIT_LOCK_DAYS", "MODE", "PROFILE"} <= settings


def test_the_audits_bucket_is_locked_and_both_are_closed(
    resources: dict[tuple[str, str], Mapping[str, Any]],
) -> None:
    """Object Lock in compliance mode; versions, encryption, and nothing public."""
    assert resources["aws_s3_bucket", "audit"]["object_lock_enabled"] is True
    (rule,) = resources["aws_s3_bucket_object_lock_configuration", "audit"]["rule"]
    (retention,) = rule["default_retention"]
    assert retention["mode"] == "COMPLIANCE"
    block = resources["aws_s3_bucket_public_access_block", "this"]
    assert [block[name] for name in block if name.startswith(("block", "ignore", "restrict"))] == [
        True
    ] * 4
    for kind in ("versioning", "server_side_encryption_configuration", "public_access_block"):
        assert resources[f"aws_s3_bucket_{kind}", "this"]["for_each"] == "${local.buckets}"


def test_only_who_is_named_comes_in(
    resources: dict[tuple[str, str], Mapping[str, Any]],
) -> None:
    """By security group, at one port; the instance has no public address, and asks for IMDSv2."""
    inward = [body for (kind, _), body in resources.items() if kind.endswith("_ingress_rule")]
    (rule,) = inward
    assert "cidr_ipv4" not in rule
    assert (rule["from_port"], rule["to_port"]) == (8080, 8080)
    assert "ingress" not in resources["aws_security_group", "service"]
    instance = resources["aws_instance", "service"]
    assert instance["associate_public_ip_address"] is False
    assert instance["metadata_options"][0]["http_tokens"] == "required"


def test_silence_is_an_alarm(resources: dict[tuple[str, str], Mapping[str, Any]]) -> None:
    """A heartbeat that is missing counts as one that failed."""
    alarm = resources["aws_cloudwatch_metric_alarm", "heartbeat"]
    assert alarm["treat_missing_data"] == "breaching"
    beat = (_FOLDER / "user_data.sh.tftpl").read_text()
    assert f"--namespace {alarm['namespace']} --metric-name {alarm['metric_name']}" in beat


def test_the_role_gets_what_the_command_prints(
    resources: dict[tuple[str, str], Mapping[str, Any]],
) -> None:
    """It fits into a role, for the shipped playbooks; and beside it the role has nothing broad."""
    assert resources["aws_iam_role_policy", "playbooks"]["policy"] == "${file(var.policy_file)}"
    playbooks = load(_ROOT / "playbooks")
    said = iam_scope.narrowed_policy(playbooks, region="eu-central-1", account="1" * 12, groups=())
    assert len(json.dumps(said, separators=(",", ":"))) < _POLICY_MOST
    (own,) = [body for kind, name, body in _blocks("data") if name == "own"]
    for statement in own["statement"]:
        assert not [one for one in statement["actions"] if "*" in one]
        assert statement["resources"] != ["*"] or "condition" in statement
