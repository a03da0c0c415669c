"""The documents for Systems Manager: what AWS and a shell check, and what they do on a host."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from actions.catalog.ssm import capture
from actions.catalog.ssm.restart_service import DOCUMENT, RestartService
from actions.catalog.ssm.run_document import RunDocument

_FOLDER = Path(__file__).parents[2] / "deploy" / "ssm"
_FILES = sorted(_FOLDER.glob("*.yaml"))
# One only shows what a host has, as often as it is asked.
_ACTING = [file for file in _FILES if file.stem != capture.DOCUMENT]
_TOKEN = "01K9ZZZZZZZZZZZZZZZZZZZZZZ/3"
_HOSTILE = ("a; reboot", "$(reboot)", "`reboot`", "a'b", 'a"b', "a b", "a\nb", "", "a|b", "{{x}}")


def _read(file: Path) -> dict[str, Any]:
    document: dict[str, Any] = YAML(typ="safe").load(file.read_text())
    return document


def _script(name: str) -> str:
    (step,) = _read(_FOLDER / f"SmartCloudOps-{name}.yaml")["mainSteps"]
    (script,) = step["inputs"]["runCommand"]
    return str(script)


def _run(script: str, folder: Path, **parameters: str) -> "subprocess.CompletedProcess[str]":
    """On a host whose folders and commands are those below `folder`."""
    for path in ("/run/", "/var/log", "/var/cache"):
        script = script.replace(path, f"{folder}{path}")
    for name in ("bin", "run"):
        (folder / name).mkdir(exist_ok=True)
    for tool in ("cat", "df", "find", "grep", "mkdir", "sleep", "tr"):
        link = folder / "bin" / tool
        if not link.exists():
            link.symlink_to(str(shutil.which(tool)))
    # This machine's own docker or apt-get must not be found.
    env = {"PATH": str(folder / "bin")}
    env |= {f"SSM_{name}": value for name, value in parameters.items()}
    command = ["/bin/sh", "-c", script]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)


def _command(folder: Path, name: str, script: str) -> Path:
    """Add a command that writes its arguments to a file and runs `script`; returns the file."""
    (folder / "bin").mkdir(exist_ok=True)
    notes = folder / f"{name}.called"
    file = folder / "bin" / name
    file.write_text(f'#!/bin/sh\necho "$@" >>{notes}\n{script}\n')
    file.chmod(0o755)
    return notes


def _file(path: Path, *, days: float = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    at = time.time() - days * 86_400
    os.utime(path, (at, at))
    return path


@pytest.mark.parametrize("file", _FILES, ids=lambda file: file.stem)
def test_a_document_is_what_systems_manager_takes(file: Path) -> None:
    """Of the schema, each parameter declared with a pattern, none handed over by a command line."""
    document = _read(file)
    assert document["schemaVersion"] == "2.2"
    (step,) = document["mainSteps"]
    assert step["action"] == "aws:runShellScript"
    (script,) = step["inputs"]["runCommand"]
    used = re.findall(r"\{\{\s*(.*?)\s*\}\}", script)
    assert sorted(used) == sorted(document["parameters"])
    for name, declared in document["parameters"].items():
        assert declared["interpolationType"] == "ENV_VAR"
        pattern = re.compile(declared["allowedPattern"])
        assert pattern.pattern.startswith("^")
        assert pattern.pattern.endswith("$")
        assert not [value for value in _HOSTILE if pattern.fullmatch(value)]
        # The one place for older agents, in quotes that no value can end.
        assert f"[ -n \"${{SSM_{name}+x}}\" ] || SSM_{name}='{{{{{name}}}}}'" in script
    if file in _ACTING:
        assert re.fullmatch(document["parameters"]["Token"]["allowedPattern"], _TOKEN)


@pytest.mark.parametrize("file", _FILES, ids=lambda file: file.stem)
@pytest.mark.parametrize("shell", ["bash", "sh"])
def test_a_script_is_a_shells(file: Path, shell: str) -> None:
    """In each shell that a host may have."""
    script = _script(file.stem.removeprefix("SmartCloudOps-"))
    assert script.startswith("#!/bin/sh\n")
    subprocess.run([shell, "-n"], input=script, text=True, check=True, timeout=20)


def test_what_the_actions_send_is_what_the_documents_take() -> None:
    """Names, and the values that both allow."""
    documents = {file.stem for file in _FILES}
    assert DOCUMENT in documents
    for document in documents:
        assert RunDocument.params.model_validate({"document": document})
    service = _read(_FOLDER / f"{DOCUMENT}.yaml")["parameters"]["Service"]["allowedPattern"]
    for name in ("nginx", "app@1.service", "-x"):
        assert RestartService.params.model_validate({"service": name})
        assert re.fullmatch(service, name)
    for name in _HOSTILE:
        with pytest.raises(ValidationError):
            RestartService.params.model_validate({"service": name})


@pytest.mark.parametrize(
    "path", ["/etc", "/var/log/../../etc", "/", "/var/logs", "/var/cache/", "/var/log/.ssh"]
)
@pytest.mark.parametrize("document", ["CleanDisk", "ClearCache"])
def test_nothing_else_can_be_cleaned(document: str, path: str) -> None:
    """Only folders whose files programs write again."""
    pattern = _read(_FOLDER / f"SmartCloudOps-{document}.yaml")["parameters"]["Path"]
    assert not re.fullmatch(pattern["allowedPattern"], path)


def test_a_service_is_restarted_once_for_each_token(tmp_path: Path) -> None:
    """Sent twice, it answers the second time as the first; another step restarts it again."""
    called = _command(tmp_path, "systemctl", "exit 0")
    script = _script("RestartService")
    first = _run(script, tmp_path, Service="app", Token=_TOKEN)
    again = _run(script, tmp_path, Service="app", Token=_TOKEN)
    assert (first.returncode, again.returncode) == (0, 0)
    assert again.stdout == "done before\n"
    assert called.read_text().splitlines() == ["restart -- app", "is-active --quiet -- app"]
    _run(script, tmp_path, Service="app", Token=_TOKEN.replace("/3", "/4"))
    assert called.read_text().count("restart") == 2


def test_a_failure_stays_one_and_a_lost_run_is_unknown(tmp_path: Path) -> None:
    """Neither is repeated, and neither counts as a success."""
    called = _command(tmp_path, "systemctl", "exit 5")
    script = _script("RestartService")
    for _ in range(2):
        assert _run(script, tmp_path, Service="app", Token=_TOKEN).returncode == 5
    assert called.read_text().splitlines() == ["restart -- app"]
    marker = tmp_path / "run" / "smartcloudops" / _TOKEN.replace("/", "-")
    (marker / "status").unlink()
    assert _run(script, tmp_path, Service="app", Token=_TOKEN).returncode == 75
    assert called.read_text().splitlines() == ["restart -- app"]


def test_an_older_agent_gets_the_same_done(tmp_path: Path) -> None:
    """It writes the values into the script, and sets no variables."""
    called = _command(tmp_path, "systemctl", "exit 0")
    script = _script("RestartService").replace("{{Service}}", "app@1.service")
    assert _run(script.replace("{{Token}}", _TOKEN), tmp_path).returncode == 0
    assert called.read_text().splitlines()[0] == "restart -- app@1.service"


def test_a_disk_is_cleaned_of_what_is_over(tmp_path: Path) -> None:
    """It deletes old rotated logs, and no log that is open, new or behind a link."""
    _command(tmp_path, "journalctl", "exit 1")
    called = _command(tmp_path, "apt-get", "exit 0")
    log, elsewhere = tmp_path / "var" / "log", tmp_path / "elsewhere"
    gone = [
        _file(log / name, days=2) for name in ("app/a.log.1", "a.log.2.gz", "messages-20260101")
    ]
    kept = [
        _file(log / "app" / "a.log", days=9),
        _file(log / "b.log.1", days=0.5),
        _file(elsewhere / "c.gz", days=9),
    ]
    (log / "linked").symlink_to(elsewhere)
    script = _script("CleanDisk")
    result = _run(script, tmp_path, Path=str(log), Days="1", Token=_TOKEN)
    assert result.returncode == 0, result.stderr
    assert [file.exists() for file in gone] == [False] * 3
    assert [file.exists() for file in kept] == [True] * 3
    assert called.read_text().split() == ["clean"]
    through = _run(script, tmp_path, Path=str(log / "linked"), Days="1", Token=f"{_TOKEN}4")
    assert through.returncode == 1
    assert kept[2].exists()


def test_a_cache_is_emptied_and_nothing_behind_a_link(tmp_path: Path) -> None:
    """The folder stays, for programs that write there again."""
    cache, elsewhere = tmp_path / "var" / "cache" / "app", tmp_path / "elsewhere"
    _file(cache / "a" / "b")
    kept = _file(elsewhere / "c")
    (cache / "linked").symlink_to(elsewhere)
    result = _run(_script("ClearCache"), tmp_path, Path=str(cache), Token=_TOKEN)
    assert result.returncode == 0, result.stderr
    assert list(cache.iterdir()) == []
    assert kept.exists()


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_a_container_is_restarted(tmp_path: Path, engine: str) -> None:
    """By Docker or Podman, as the host has it."""
    called = _command(tmp_path, engine, """echo '"Running": true'""")
    result = _run(_script("RestartContainer"), tmp_path, Container="web", Token=_TOKEN)
    assert result.returncode == 0, result.stderr
    assert called.read_text().splitlines() == ["restart web", "inspect web"]


def test_the_guard_against_a_second_run_is_the_same_everywhere() -> None:
    """A fault in one copy is a fault in all."""
    guards: Mapping[str, list[str]] = {
        file.stem: re.findall(
            r"^done_dir=.*?EXIT$", _script(file.stem[14:]), re.DOTALL | re.MULTILINE
        )
        for file in _ACTING
    }
    assert len({tuple(guard) for guard in guards.values()}) == 1
    assert all(guards.values())


def test_a_capture_shows_what_the_host_has_and_changes_nothing(tmp_path: Path) -> None:
    """Within what AWS shows of it, also where a tool is missing or hangs."""
    for tool in ("timeout", "head"):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / tool).symlink_to(str(shutil.which(tool)))
    for tool in ("ps", "ss", "free"):
        _command(tmp_path, tool, f"printf '{tool} shows %9000s' x")
    called = _command(tmp_path, "journalctl", "exec sleep 30")
    before = {file for file in tmp_path.rglob("*") if "called" not in file.name}
    result = _run(_script("Capture"), tmp_path)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout) <= 24_000
    for part in ("ps shows", "ss shows", "free shows", "Filesystem", "== journal"):
        assert part in result.stdout
    assert "--lines=100" in called.read_text()
    assert {file for file in tmp_path.rglob("*") if "called" not in file.name} - before <= {
        tmp_path / "run",
        *(tmp_path / "bin").iterdir(),
    }
