"""The Terraform parses, its references exist, and it exposes no more than the pages say."""

import json
import re
import subprocess
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
_USER_DATA = (_FOLDER / "user_data.sh.tftpl").read_text()
_README = (_FOLDER / "README.md").read_text()
# Characters of a role's inline policies, without white space.
# https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
_MAX_POLICY = 10_240
# Bytes of user data: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/user-data.html
_MAX_USER_DATA = 16 * 1024


def _plain(value: Any) -> Any:
    """Without the quotes that the parser leaves around texts."""
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in value.items() if key != "__is_block__"}
    if isinstance(value, list):
        return [_plain(item) for item in value]
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


def test_references_exist(
    resources: dict[tuple[str, str], Mapping[str, Any]],
) -> None:
    """And no variable is declared that nothing uses."""
    text = "".join(file.read_text() for file in _FILES)
    declared = {name for _, name, _ in _blocks("variable")}
    assert set(re.findall(r"\bvar\.(\w+)", text)) == declared
    data = {f"data.{kind}.{name}" for kind, name, _ in _blocks("data")}
    assert set(re.findall(r"\bdata\.aws_\w+\.\w+", text)) == data
    addresses = {f"{kind}.{name}" for kind, name in resources}
    without_data = re.sub(r"\bdata\.aws_\w+\.\w+", "", text)
    assert set(re.findall(r"\baws_\w+\.\w+", without_data)) <= addresses


def test_the_template_gets_its_variables(
    resources: dict[tuple[str, str], Mapping[str, Any]],
) -> None:
    """Exactly those that it names; each of its settings is one that the program knows."""
    variables = str(resources["aws_instance", "service"]["user_data"]).partition(", {")[2]
    names = set(re.findall(r"[{,]?\s*(\w+)\s*[=:]\s", "{" + variables))
    assert set(re.findall(r"\$\{(\w+)\}", _USER_DATA)) == names
    settings = set(re.findall(r"^#? ?SMARTCLOUDOPS_(\w+)=", _USER_DATA, re.MULTILINE))
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


def test_only_named_groups_reach_the_instance(
    resources: dict[tuple[str, str], Mapping[str, Any]],
) -> None:
    """At one port, without a public address; metadata ends at the first hop, before containers."""
    (rule,) = [body for (kind, _), body in resources.items() if kind.endswith("_ingress_rule")]
    assert "cidr_ipv4" not in rule
    assert (rule["from_port"], rule["to_port"]) == (8080, 8080)
    assert "ingress" not in resources["aws_security_group", "service"]
    instance = resources["aws_instance", "service"]
    assert instance["associate_public_ip_address"] is False
    (metadata,) = instance["metadata_options"]
    assert (metadata["http_tokens"], metadata["http_put_response_hop_limit"]) == ("required", 1)


def test_silence_is_an_alarm(resources: dict[tuple[str, str], Mapping[str, Any]]) -> None:
    """A heartbeat that is missing counts as one that failed."""
    alarm = resources["aws_cloudwatch_metric_alarm", "heartbeat"]
    assert alarm["treat_missing_data"] == "breaching"
    metric = f"--namespace {alarm['namespace']} --metric-name {alarm['metric_name']}"
    assert metric in _USER_DATA


def test_the_role_has_the_policy_that_the_command_prints(
    resources: dict[tuple[str, str], Mapping[str, Any]],
) -> None:
    """For the shipped playbooks it fits into a role, whose other policy has nothing broad."""
    assert resources["aws_iam_role_policy", "playbooks"]["policy"] == "${file(var.policy_file)}"
    playbooks = load(_ROOT / "playbooks")
    policy = iam_scope.narrowed_policy(
        playbooks, region="eu-central-1", account="1" * 12, groups=()
    )
    assert len(json.dumps(policy, separators=(",", ":"))) < _MAX_POLICY
    (own,) = [body for kind, name, body in _blocks("data") if name == "own"]
    for statement in own["statement"]:
        assert not [action for action in statement["actions"] if "*" in action]
        assert statement["resources"] != ["*"] or "condition" in statement


def test_each_version_is_exact() -> None:
    """A range would take a provider that nobody has read; its hashes need `terraform init`."""
    providers = re.findall(
        r'^\s+version\s+= "(.*)"', (_FOLDER / "versions.tf").read_text(), re.MULTILINE
    )
    assert providers
    for version in providers:
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert (_FOLDER / ".terraform.lock.hcl").exists() or ".terraform.lock.hcl" in _README


def test_one_hash_decides_what_is_installed(
    resources: dict[tuple[str, str], Mapping[str, Any]],
) -> None:
    """The wheel's hash is compared before the first use; its lock has those of all packages."""
    wheel = resources["aws_s3_object", "wheel"]
    assert wheel["source_hash"] == "${filesha256(var.wheel)}"
    commands = _USER_DATA.replace("\\\n", " ")
    compared = commands.index("sha256sum --check --strict")
    assert "${wheel_sha256}" in commands[:compared]
    assert commands.index("zipfile -e") > compared
    installs = re.findall(r"^.*\bpip install\b.*$", commands, re.MULTILINE)
    assert len(installs) > 1
    for install in installs:
        assert commands.index(install) > compared
        assert "--require-hashes" in install or {"--no-deps", "--no-index"} <= set(install.split())
    assert len(_USER_DATA.encode()) < _MAX_USER_DATA / 1.5, "the values come on top"


def test_the_user_data_is_a_shell_script() -> None:
    """With a value for each variable, as bash reads it without running it."""
    script = re.sub(r"\$\{\w+\}", "value", _USER_DATA)
    subprocess.run(["/bin/bash", "-n"], input=script, text=True, check=True)


def test_the_unit_is_the_file_of_the_repository() -> None:
    """Terraform writes no unit of its own for the service, and makes its user by the same lines."""
    assert "smartcloudops.service <<" not in _USER_DATA
    assert "cd /opt/smartcloudops/share/smartcloudops/systemd\n" in _USER_DATA
    installed = re.findall(r"^install -D -m 0644 (\S+) ", _USER_DATA, re.MULTILINE)
    assert set(installed) == {file.name for file in (_ROOT / "deploy" / "systemd").iterdir()}


def test_no_secret_is_an_argument_of_a_program() -> None:
    """Every user of a machine reads the process list."""
    for name in ("audit-key.pem", "tokens.json"):
        assert f"file://{name}" in _README
    for text in (_README, _USER_DATA):
        assert not re.findall(r"\$\((?:cat|<|base64|tar|aws ssm get-parameter) ?", text)


@pytest.mark.parametrize("name", ["hub", "spoke"])
def test_the_modules_of_accounts_refer_to_what_exists(name: str) -> None:
    """A spoke trusts the hub's role alone, and only with its external id."""
    text = (_FOLDER / "modules" / name / "main.tf").read_text()
    parsed = _plain(hcl2.loads(text))
    declared = {key for block in parsed["variable"] for key in block}
    assert set(re.findall(r"\bvar\.(\w+)", text)) == declared
    if name == "hub":
        return
    trust = parsed["data"][0]["aws_iam_policy_document"]["trust"]["statement"][0]
    assert trust["principals"][0]["identifiers"] == ["${var.hub_role_arn}"]
    assert trust["condition"][0]["variable"] == "sts:ExternalId"
