"""The unit of a single host: what it allows, and that systemd's own programs accept its files."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_FOLDER = _ROOT / "deploy" / "systemd"
_UNIT = (_FOLDER / "smartcloudops.service").read_text()
# Of 100: https://www.freedesktop.org/software/systemd/man/latest/systemd-analyze.html
_MAX_EXPOSURE = 20
_NEEDED_TARGETS = ("sysinit", "basic", "shutdown", "network-online")


def _settings() -> dict[str, list[str]]:
    """Each setting of the unit with its values."""
    settings: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", _UNIT, re.MULTILINE):
        settings.setdefault(name, []).append(value)
    return settings


def _run(name: str, *arguments: str | Path) -> str:
    """What a program of systemd prints; skips where it is not installed."""
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed (Debian's package systemd)")
    command = [program, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """The root of a host with the unit, its program and the targets that it waits for."""
    units = tmp_path / "etc" / "systemd" / "system"
    units.mkdir(parents=True)
    shutil.copy(_FOLDER / "smartcloudops.service", units)
    for target in _NEEDED_TARGETS:
        (units / f"{target}.target").write_text("[Unit]\nDefaultDependencies=no\n")
    program = tmp_path / _settings()["ExecStart"][0].split()[0].lstrip("/")
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return tmp_path


def test_systemd_accepts_the_unit(host: Path) -> None:
    """Without a warning: systemd ignores a setting that it does not know."""
    assert _run("systemd-analyze", "verify", f"--root={host}", "smartcloudops.service") == ""


def test_the_unit_exposes_little(host: Path) -> None:
    """As systemd counts it."""
    arguments = ("--offline=true", "--no-pager", f"--threshold={_MAX_EXPOSURE}")
    _run("systemd-analyze", "security", *arguments, f"--root={host}", "smartcloudops.service")


def test_systemd_makes_the_user_and_the_folders(tmp_path: Path) -> None:
    """A user without a shell; settings that only root writes."""
    (tmp_path / "etc").mkdir()
    _run("systemd-sysusers", f"--root={tmp_path}", _FOLDER / "sysusers.conf")
    (user,) = (tmp_path / "etc" / "passwd").read_text().splitlines()
    assert user.split(":")[0] == _settings()["User"][0]
    assert user.endswith(":/var/lib/smartcloudops:/usr/sbin/nologin")
    if tmp_path.owner() != "root":
        pytest.skip("only root may give a folder to another user")
    _run("systemd-tmpfiles", "--create", f"--root={tmp_path}", _FOLDER / "tmpfiles.conf")
    modes = {
        folder: (tmp_path / folder).stat().st_mode & 0o777
        for folder in ("var/lib/smartcloudops", "etc/smartcloudops", "etc/smartcloudops/playbooks")
    }
    assert list(modes.values()) == [0o700, 0o750, 0o750]


def test_the_unit_bounds_what_the_service_takes_and_may_do() -> None:
    """Memory, files, system calls, and the one folder that it writes."""
    settings = _settings()
    for bound in ("MemoryMax", "TasksMax", "LimitNOFILE"):
        assert re.fullmatch(r"\d+[MG]?", settings[bound][0])
    assert int(settings["LimitNOFILE"][0]) >= 65_536
    allowed, denied = settings["SystemCallFilter"]
    assert allowed == "@system-service"
    assert "@privileged" in denied
    assert denied.startswith("~")
    assert settings["ProtectSystem"] == ["strict"]
    assert settings["NoNewPrivileges"] == ["yes"]
    assert settings["CapabilityBoundingSet"] == [""]
    assert settings["WorkingDirectory"] == ["/var/lib/smartcloudops"]
    assert settings["StateDirectory"] == ["smartcloudops"]
    assert "ReadWritePaths" not in settings


def test_folders_are_those_of_the_unit() -> None:
    """The lines for tmpfiles.d make each folder that the unit names, and one for the playbooks."""
    lines = re.findall(r"^d (\S+)", (_FOLDER / "tmpfiles.conf").read_text(), re.MULTILINE)
    settings = _settings()
    environment = str(Path(settings["EnvironmentFile"][0]).parent)
    assert set(lines) == {*settings["WorkingDirectory"], environment, f"{environment}/playbooks"}
