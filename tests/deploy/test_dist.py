"""The wheel and the sdist: what is in them, and that the program runs from the wheel.

`make dist` runs the same tests on a wheel installed with requirements.lock into an empty
environment, whose folder `INSTALLED` names. Without it the wheel is unpacked, and runs on this
environment's packages.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from demo.stack.processes import Processes, without_aws

_ROOT = Path(__file__).parents[2]
_PACKAGES = ("actions", "backtest", "demo", "models", "receiver")
_SHARED = ("playbooks", "prometheus_rules", "roles.d")
# What a checkout may hold and no package may: written before the build, and sought afterwards.
_SECRETS = (
    "deploy/secrets/aws-credentials",
    "deploy/terraform/terraform.tfstate",
    "data/tokens.json",
    "audit-key.pem",
)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both packages, built from a checkout that holds secrets."""
    checkout = tmp_path_factory.mktemp("build") / "checkout"
    ignored = shutil.ignore_patterns(
        ".venv",
        ".tools",
        ".demo",
        ".installed",
        ".git",
        "build",
        "dist",
        "data",
        "secrets",
        "__pycache__",
        ".*_cache",
    )
    shutil.copytree(_ROOT, checkout, ignore=ignored)
    for name in _SECRETS:
        (checkout / name).parent.mkdir(exist_ok=True)
        (checkout / name).write_text("a secret")
    out = checkout.with_name("dist")
    uv = Path(sys.executable).with_name("uv")
    build = ("build", "-q", "--offline", "--no-build-isolation", "--python", sys.executable)
    _run([uv, *build, "--out-dir", out, checkout])
    return out


def _run(
    command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=env)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def _files(folder: Path) -> set[str]:
    """The files below a folder of the repository, without what Python compiled."""
    return {
        str(file.relative_to(_ROOT))
        for file in folder.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }


def test_the_wheel_holds_every_file_of_the_program(dist: Path) -> None:
    """Templates, assets, migrations and the model included; and nothing else."""
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.startswith("smartcloudops-")}
    assert names == set().union(*(_files(_ROOT / package) for package in _PACKAGES))
    for needed in (
        "models/shipped/manifest.json",
        "receiver/console/assets/console.css",
        "receiver/console/templates/base.html",
        "receiver/db/migrations/state/state_0001.py",
        "receiver/reports/templates/report.html.j2",
    ):
        assert needed in names


def test_the_wheel_shares_the_lock_the_unit_and_the_playbooks(dist: Path) -> None:
    """Byte by byte the files of the repository."""
    (wheel,) = dist.glob("*.whl")
    shared = {"requirements.lock": "requirements.lock"}
    for folder in _SHARED:
        shared |= {name: name for name in _files(_ROOT / folder)}
    shared |= {name.removeprefix("deploy/"): name for name in _files(_ROOT / "deploy/systemd")}
    with zipfile.ZipFile(wheel) as archive:
        (start,) = {name.split("/")[0] for name in archive.namelist() if ".data/" in name}
        prefix = f"{start}/data/share/smartcloudops/"
        packed = {
            name.removeprefix(prefix): archive.read(name)
            for name in archive.namelist()
            if name.startswith(f"{start}/")
        }
    assert packed == {name: (_ROOT / file).read_bytes() for name, file in shared.items()}


def test_the_lock_covers_what_the_program_requires() -> None:
    """By exact version and hash, for each direct dependency."""
    lock = (_ROOT / "requirements.lock").read_text()
    locked = re.findall(r"^([\w.-]+)(?:\[\w+\])?==\S+.*\\\n    --hash=sha256:", lock, re.MULTILINE)
    assert len(locked) == len(re.findall(r"^\w", lock, re.MULTILINE))
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[\[<>=; ]", line)[0] for line in project["dependencies"]]
    # As uv writes them: https://packaging.python.org/en/latest/specifications/name-normalization/
    required = {re.sub(r"[-_.]+", "-", name) for name in names}
    assert required <= set(locked)


def test_the_sdist_holds_what_the_wheel_is_made_of_and_no_secret(dist: Path) -> None:
    """The wheel was built from it."""
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"requirements.lock", "requirements-build.lock", "LICENSE", "pyproject.toml"} <= names
    for folder in (*_PACKAGES, *_SHARED, "deploy/systemd"):
        assert _files(_ROOT / folder) <= names
    top = {name.split("/")[0] for name in names}
    assert {"tests", "bench", "data"}.isdisjoint(top)
    for secret in _SECRETS:
        assert secret not in names


@dataclass(frozen=True, kw_only=True)
class _Installed:
    """The program from the wheel: how it is called, and the files that came with it."""

    command: tuple[str | Path, ...]
    env: Mapping[str, str]
    python: tuple[str | Path, ...]
    share: Path


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> _Installed:
    env = {
        name: value for name, value in without_aws().items() if not name.startswith("PYTHON")
    } | {"AWS_DEFAULT_REGION": "eu-central-1"}
    if folder := os.environ.get("INSTALLED"):
        return _Installed(
            command=(Path(folder) / "bin" / "smartcloudops",),
            env=env,
            python=(Path(folder) / "bin" / "python",),
            share=Path(folder) / "share" / "smartcloudops",
        )
    unpacked = tmp_path_factory.mktemp("unpacked")
    (wheel,) = dist.glob("*.whl")
    _run([sys.executable, "-m", "zipfile", "-e", wheel, unpacked])
    (share,) = unpacked.glob("*.data/data/share/smartcloudops")
    return _Installed(
        command=(sys.executable, "-m", "receiver"),
        env={**env, "PYTHONPATH": str(unpacked)},
        python=(sys.executable,),
        share=share,
    )


def test_the_program_runs_from_the_wheel(installed: _Installed, tmp_path: Path) -> None:
    """Its version, and its own playbooks with their tests, away from the repository."""

    def call(*arguments: str | Path) -> str:
        return _run([*installed.command, *arguments], cwd=tmp_path, env=installed.env)

    where = "import receiver; print(receiver.__file__)"
    module = _run([*installed.python, "-c", where], cwd=tmp_path, env=installed.env)
    assert not module.startswith(f"{_ROOT}/receiver")
    version = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert call("--version") == f"smartcloudops {version}\n"
    assert "no findings" in call("check", installed.share / "playbooks")
    assert call("test", installed.share / "playbooks").endswith("tests passed\n")


def test_the_service_starts_from_the_wheel(installed: _Installed, tmp_path: Path) -> None:
    """It migrates a database, and answers: its health, a page with its stylesheet, the model."""
    env = {
        **installed.env,
        "SMARTCLOUDOPS_PLAYBOOKS": str(installed.share / "playbooks"),
        "SMARTCLOUDOPS_CLOUDTRAIL": "false",
    }
    create = ("token", "create", "--role", "viewer", "--name", "smoke")
    token = _run([*installed.command, *create], cwd=tmp_path, env=env).strip()
    inside = ["env", "-C", str(tmp_path), *(f"{name}={value}" for name, value in env.items())]
    with Processes(tmp_path / "logs") as processes:

        def command(port: int) -> list[str | Path]:
            return [*inside, f"SMARTCLOUDOPS_PORT={port}", *installed.command, "serve"]

        _, url = processes.start_on_port("serve", command, ready="/healthz", timeout_s=60, env=env)
        with httpx.Client(base_url=url, trust_env=False, timeout=20) as http:
            assert http.get("/readyz").status_code == httpx.codes.OK
            login = http.get("/login")
            assert "<form" in login.text
            (style,) = re.findall(r'href="(/\S+\.css\S*)"', login.text)
            assert http.get(style).status_code == httpx.codes.OK
            headers = {"Authorization": f"Bearer {token}"}
            model = http.get("/api/v1/model", headers=headers)
            assert model.status_code == httpx.codes.OK, model.text
