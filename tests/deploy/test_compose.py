"""The compose file and the image: no engine builds or starts them here, so all else is held to.

The schema is that of the Compose specification, as check-jsonschema brings it.
"""

import fnmatch
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
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _mounted(service: str) -> Mapping[str, Path]:
    """Files and folders of the repository by where the service finds them."""
    return {inside: ROOT / outside for name, outside, inside, _ in BOUND if name == service}


def _names() -> set[str]:
    """What a service can be reached by."""
    aliases = [
        alias
        for service in SERVICES.values()
        if isinstance(service["networks"], dict)
        for network in service["networks"].values()
        for alias in (network or {}).get("aliases", [])
    ]
    return {*SERVICES, *aliases}


def test_the_compose_file_is_one() -> None:
    """As the specification's own schema says."""
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
def test_what_is_mounted_is_there(service: str, outside: str, inside: str, mode: str) -> None:
    """And is only read."""
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
    for one in service.get("secrets", []):
        if isinstance(one, str):
            yield one, f"/run/secrets/{one}"
        else:
            yield one["source"], one["target"]


def test_secrets_are_files_that_are_not_committed() -> None:
    """No environment variable holds one; what names a file names one that is mounted."""
    ignored = (ROOT / ".gitignore").read_text().split()
    for secret in COMPOSE["secrets"].values():
        assert f"/{Path(secret['file']).parent}/" in ignored
    for service in SERVICES.values():
        paths = {path for _, path in _secrets(service)}
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN|KEY|CREDENTIALS", name):
                assert value in paths | {"/run/secrets"}, name


def test_alertmanager_finds_its_secrets() -> None:
    """Each file that its configuration names is one of its secrets."""
    config = (ROOT / "alertmanager" / "alertmanager.yml").read_text()
    named = set(re.findall(r"_file: (\S+)", config))
    assert named
    for service in ("alertmanager-1", "alertmanager-2"):
        assert {path for _, path in _secrets(SERVICES[service])} == named


def test_the_shipped_configurations_are_taken() -> None:
    """Prometheus, its rules and Alertmanager as they are mounted, by their own tools."""
    for service in ("alertmanager-1", "alertmanager-2"):
        config = _mounted(service)["/etc/alertmanager/alertmanager.yml"]
        _run(tools.find("amtool"), "check-config", config)
    mounted = _mounted("prometheus")
    config = mounted["/etc/prometheus/prometheus.yml"]
    _run(tools.find("promtool"), "check", "config", "--syntax-only", config)
    (rules,) = YAML(typ="safe").load(config)["rule_files"]
    folder, _, pattern = rules.rpartition("/")
    found = sorted(mounted[folder].glob(pattern))
    assert found
    _run(tools.find("promtool"), "check", "rules", *found)
    (config,) = _mounted("proxy").values()
    _run(*haproxy.require(), "-c", "-f", config)


@pytest.mark.parametrize(
    ("service", "program"),
    [("prometheus", "prometheus"), ("alertmanager-1", "alertmanager")],
)
def test_the_programs_know_their_flags(service: str, program: str) -> None:
    """A flag that is unknown keeps a program from starting; asked of the real one."""
    answer = subprocess.run(
        [tools.find(program), "--help"], capture_output=True, text=True, check=False
    )
    told = answer.stdout + answer.stderr
    for flag in SERVICES[service]["command"]:
        assert flag.split("=")[0] in told, flag
    assert f"--config.file={_config(program)}" in SERVICES[service]["command"]
    assert _config(program) in _mounted(service)


def _config(program: str) -> str:
    return f"/etc/{program}/{program}.yml"


def test_whoever_is_called_is_there() -> None:
    """Each host in a configuration or a setting is the name of a service on a common network."""
    yaml = YAML(typ="safe")
    prometheus = yaml.load(ROOT / "deploy" / "prometheus.yml")
    asked = [*prometheus["alerting"]["alertmanagers"], *prometheus["scrape_configs"]]
    looked_up = [dns for one in asked for dns in one.get("dns_sd_configs", [])]
    hosts = {name for dns in looked_up for name in dns["names"]}
    provisioning = _mounted("grafana")["/etc/grafana/provisioning"]
    (source,) = yaml.load(provisioning / "datasources" / "prometheus.yml")["datasources"]
    receivers = yaml.load(ROOT / "alertmanager" / "alertmanager.yml")["receivers"]
    (webhook,) = next(one for one in receivers if one["name"] == "smartcloudops")["webhook_configs"]
    urls = [source["url"], webhook["url"], *_urls(SERVICES["receiver"])]
    hosts |= {urlsplit(url).hostname or "" for url in urls}
    servers = re.findall(r"server-template \S+ \d+ (\S+):8080", haproxy.CONFIG.read_text())
    hosts |= set(servers)
    assert hosts == {"proxy", "receiver", "alertmanager", "prometheus"}
    assert hosts <= _names()
    for name in SERVICES.keys() - {"postgres"}:
        assert "monitoring" in SERVICES[name]["networks"]


def _urls(service: Mapping[str, Any]) -> Sequence[str]:
    return [value for value in service["environment"].values() if value.startswith("http")]


def test_dashboards_are_where_grafana_is_told_to_look() -> None:
    """And the folder has some."""
    mounted = _mounted("grafana")
    provisioning = mounted["/etc/grafana/provisioning"] / "dashboards" / "smartcloudops.yml"
    (provider,) = YAML(typ="safe").load(provisioning)["providers"]
    assert list(mounted[provider["options"]["path"]].glob("*.json"))


def test_settings_are_known() -> None:
    """By the program: a variable or a secret that is misspelt would be ignored."""
    told = set(re.findall(r"SMARTCLOUDOPS_(\w+)[:=]", DOCKERFILE))
    told |= set(re.findall(r"SMARTCLOUDOPS_(\w+): ", FILE.read_text()))
    told |= {
        name.removeprefix("smartcloudops_").upper()
        for name, _ in _secrets(SERVICES["receiver"])
        if name.startswith("smartcloudops_")
    }
    assert "DATABASE_URL" in told
    assert told <= {name.upper() for name in Settings.model_fields}


def test_replicas_are_alike() -> None:
    """The second is the first without its port, and only there where it is asked for."""
    second = SERVICES["receiver-2"]
    assert second["profiles"] == ["replicas"]
    assert {**second, "ports": SERVICES["receiver"]["ports"]} == {
        **SERVICES["receiver"],
        "profiles": ["replicas"],
    }


def test_the_image_runs_as_nobody_and_says_how_it_is() -> None:
    """The user that compose names, and a health check at a route that is there."""
    instructions = re.findall(r"^([A-Z]+) (.*)$", DOCKERFILE, re.MULTILINE)
    assert [text for name, text in instructions if name == "USER"] == [SERVICES["receiver"]["user"]]
    (path,) = re.findall(r"http://127\.0\.0\.1:8080(/\w+)", DOCKERFILE)
    assert path in {one.path for one in health.router.routes if isinstance(one, APIRoute)}
    assert instructions[-1] == ("CMD", '["serve"]')
    for name, text in instructions:
        if name == "FROM":
            assert re.match(r"python:3\.1[1-9]-slim-\w+", text)


def test_the_image_is_made_of_locked_packages_and_files_that_it_gets() -> None:
    """Each package by its hash; each file that is copied is there, and not kept out."""
    assert DOCKERFILE.count("--require-hashes") == DOCKERFILE.count(" -r ")
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    kept = [one.removeprefix("!").rstrip("/") for one in ignored if one.startswith("!")]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    for source in " ".join(copied).split():
        assert (ROOT / source).exists()
        assert any(fnmatch.fnmatch(source.rstrip("/"), one) for one in kept), source
    required = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    pinned = (ROOT / "requirements-build.lock").read_text()
    assert all(f"{one} \\" in pinned for one in required)
