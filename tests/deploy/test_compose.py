"""The compose file and the image. No engine builds or starts them here; the rest is checked.

The schema is that of the Compose specification, as check-jsonschema brings it.
"""

import fnmatch
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from fastapi.routing import APIRoute
from ruamel.yaml import YAML

from demo.stack import haproxy, tools
from receiver.api import health
from receiver.settings import Settings

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = YAML(typ="safe").load(FILE)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
BOUND = [
    (name, *volume.split(":"))
    for name, service in SERVICES.items()
    for volume in service.get("volumes", [])
    if volume.startswith(".")
]


def _run(program: str | Path, *arguments: str | Path) -> None:
    result = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def _mounted(service: str) -> Mapping[str, Path]:
    """Files and folders of the repository by where the service finds them."""
    return {inside: ROOT / outside for name, outside, inside, _ in BOUND if name == service}


def _names() -> set[str]:
    """The host names of all services."""
    aliases = [
        alias
        for service in SERVICES.values()
        if isinstance(service["networks"], dict)
        for network in service["networks"].values()
        for alias in (network or {}).get("aliases", [])
    ]
    return {*SERVICES, *aliases}


def test_the_compose_file_matches_its_schema() -> None:
    """The schema of the Compose specification."""
    check = ("-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec")
    _run(sys.executable, *check, FILE)


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_has_few_rights(name: str) -> None:
    """Not root, nothing to write but its volumes, no port but on loopback, a pinned image."""
    service = SERVICES[name]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert re.fullmatch(r"[\w./-]+:v?\d+(\.\d+){1,2}(-\w+)?", service["image"])
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert "healthcheck" in service or service.get("build") == "."


@pytest.mark.parametrize(("service", "outside", "inside", "mode"), BOUND)
def test_mounted_files_exist(service: str, outside: str, inside: str, mode: str) -> None:
    """And are mounted read-only."""
    assert (ROOT / outside).exists(), service
    assert inside.startswith("/")
    assert mode == "ro"


def test_each_volume_and_secret_is_declared_and_used() -> None:
    """Records are in named volumes, which outlive their containers."""
    named = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if not volume.startswith(".")
    }
    assert named == set(COMPOSE["volumes"])
    used = {source for service in SERVICES.values() for source, _ in _secrets(service)}
    assert used == set(COMPOSE["secrets"])


def _secrets(service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each secret of the service, and the path it has inside."""
    for secret in service.get("secrets", []):
        if isinstance(secret, str):
            yield secret, f"/run/secrets/{secret}"
        else:
            yield secret["source"], secret["target"]


def test_secrets_are_files_that_are_not_committed() -> None:
    """No environment variable holds a secret; one that names a file names a mounted file."""
    ignored = (ROOT / ".gitignore").read_text().split()
    for secret in COMPOSE["secrets"].values():
        assert f"/{Path(secret['file']).parent}/" in ignored
    for service in SERVICES.values():
        paths = {path for _, path in _secrets(service)}
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN|KEY|CREDENTIALS", name):
                assert value in paths | {"/run/secrets"}, name


def test_only_the_receiver_has_credentials_that_act() -> None:
    """Prometheus, which has no login, has its own, with a policy that only describes."""
    credentials = {
        name: {secret for secret, _ in _secrets(service) if "aws" in secret}
        for name, service in SERVICES.items()
    }
    holders = {name: secrets for name, secrets in credentials.items() if secrets}
    receivers = {"receiver": {"aws-credentials"}, "receiver-2": {"aws-credentials"}}
    assert holders == {**receivers, "prometheus": {"prometheus-aws-credentials"}}
    (statement,) = json.loads((ROOT / "deploy" / "prometheus-policy.json").read_text())["Statement"]
    assert statement["Effect"] == "Allow"
    assert all(action.startswith("ec2:Describe") for action in statement["Action"])
    assert not [action for action in statement["Action"] if "*" in action]


def test_alertmanager_finds_its_secrets() -> None:
    """Each file that its configuration names is one of its secrets."""
    config = (ROOT / "alertmanager" / "alertmanager.yml").read_text()
    named = set(re.findall(r"_file: (\S+)", config))
    assert named
    for service in ("alertmanager-1", "alertmanager-2"):
        assert {path for _, path in _secrets(SERVICES[service])} == named


def test_programs_accept_the_shipped_configurations() -> None:
    """Prometheus, its rules and Alertmanager as they are mounted, by their own tools."""
    for service in ("alertmanager-1", "alertmanager-2"):
        config = _mounted(service)["/etc/alertmanager/alertmanager.yml"]
        _run(tools.find("amtool"), "check-config", config)
    mounted = _mounted("prometheus")
    config = mounted["/etc/prometheus/prometheus.yml"]
    _run(tools.find("promtool"), "check", "config", "--syntax-only", config)
    (rules,) = YAML(typ="safe").load(config)["rule_files"]
    folder, _, pattern = rules.rpartition("/")
    files = sorted(mounted[folder].glob(pattern))
    assert files
    _run(tools.find("promtool"), "check", "rules", *files)
    (config,) = _mounted("proxy").values()
    _run(*haproxy.require(), "-c", "-f", config)


@pytest.mark.parametrize(
    ("service", "program"),
    [("prometheus", "prometheus"), ("alertmanager-1", "alertmanager")],
)
def test_the_programs_know_their_flags(service: str, program: str) -> None:
    """An unknown flag keeps a program from starting; the real program is asked."""
    usage = subprocess.run(
        [tools.find(program), "--help"], capture_output=True, text=True, check=False
    )
    text = usage.stdout + usage.stderr
    for flag in SERVICES[service]["command"]:
        assert flag.split("=")[0] in text, flag
    assert f"--config.file={_config(program)}" in SERVICES[service]["command"]
    assert _config(program) in _mounted(service)


def _config(program: str) -> str:
    return f"/etc/{program}/{program}.yml"


def test_called_hosts_are_services() -> None:
    """Each host in a configuration or a setting is the name of a service on a common network."""
    yaml = YAML(typ="safe")
    prometheus = yaml.load(ROOT / "deploy" / "prometheus.yml")
    sources = [*prometheus["alerting"]["alertmanagers"], *prometheus["scrape_configs"]]
    lookups = [lookup for source in sources for lookup in source.get("dns_sd_configs", [])]
    hosts = {name for lookup in lookups for name in lookup["names"]}
    provisioning = _mounted("grafana")["/etc/grafana/provisioning"]
    (datasource,) = yaml.load(provisioning / "datasources" / "prometheus.yml")["datasources"]
    receivers = yaml.load(ROOT / "alertmanager" / "alertmanager.yml")["receivers"]
    names = [receiver["name"] for receiver in receivers]
    (webhook,) = receivers[names.index("smartcloudops")]["webhook_configs"]
    urls = [datasource["url"], webhook["url"], *_urls(SERVICES["receiver"])]
    hosts |= {urlsplit(url).hostname or "" for url in urls}
    servers = re.findall(r"server-template \S+ \d+ (\S+):8080", haproxy.CONFIG.read_text())
    hosts |= set(servers)
    assert hosts == {"proxy", "receiver", "alertmanager", "prometheus"}
    assert hosts <= _names()
    for name in SERVICES.keys() - {"postgres"}:
        assert "monitoring" in SERVICES[name]["networks"]


def _urls(service: Mapping[str, Any]) -> Sequence[str]:
    return [value for value in service["environment"].values() if value.startswith("http")]


def test_grafana_finds_the_dashboards() -> None:
    """The folder of its provider has some."""
    mounted = _mounted("grafana")
    provisioning = mounted["/etc/grafana/provisioning"] / "dashboards" / "smartcloudops.yml"
    (provider,) = YAML(typ="safe").load(provisioning)["providers"]
    assert list(mounted[provider["options"]["path"]].glob("*.json"))


def test_settings_exist() -> None:
    """The program would ignore a misspelt variable or secret."""
    names = set(re.findall(r"SMARTCLOUDOPS_(\w+)[:=]", DOCKERFILE))
    names |= set(re.findall(r"SMARTCLOUDOPS_(\w+): ", FILE.read_text()))
    names |= {
        name.removeprefix("smartcloudops_").upper()
        for name, _ in _secrets(SERVICES["receiver"])
        if name.startswith("smartcloudops_")
    }
    assert "DATABASE_URL" in names
    assert names <= {name.upper() for name in Settings.model_fields}


def test_replicas_are_alike() -> None:
    """The second is the first without its port, in a profile of its own."""
    second = SERVICES["receiver-2"]
    assert second["profiles"] == ["replicas"]
    assert {**second, "ports": SERVICES["receiver"]["ports"]} == {
        **SERVICES["receiver"],
        "profiles": ["replicas"],
    }


def test_the_image_runs_as_its_own_user_with_a_health_check() -> None:
    """The user that compose names; the route of the check exists; the base image is exact."""
    instructions = re.findall(r"^([A-Z]+) (.*)$", DOCKERFILE, re.MULTILINE)
    assert [text for name, text in instructions if name == "USER"] == [SERVICES["receiver"]["user"]]
    (path,) = re.findall(r"http://127\.0\.0\.1:8080(/\w+)", DOCKERFILE)
    assert path in {route.path for route in health.router.routes if isinstance(route, APIRoute)}
    assert instructions[-1] == ("CMD", '["serve"]')
    for name, text in instructions:
        if name == "FROM":
            assert re.match(r"python:3\.11\.\d+-slim-bookworm\b", text)


def test_the_image_contains_locked_packages_and_existing_files() -> None:
    """Each package by its hash; each file that it copies exists, and .dockerignore admits it."""
    installs = re.findall(r"\bpip install\b[^&\n]*", DOCKERFILE)
    assert len(installs) == DOCKERFILE.count("pip install")
    for install in installs:
        assert "--require-hashes" in install or {"--no-deps", "--no-index"} <= set(install.split())
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    admitted = [line.removeprefix("!").rstrip("/") for line in ignored if line.startswith("!")]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    for source in " ".join(copied).split():
        assert (ROOT / source).exists()
        assert any(fnmatch.fnmatch(source.rstrip("/"), pattern) for pattern in admitted), source
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    pinned = (ROOT / "requirements-build.lock").read_text()
    assert all(f"{requirement} \\" in pinned for requirement in required)
