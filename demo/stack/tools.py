"""Prometheus, Alertmanager and their tools: on PATH, or unpacked from Debian's packages.

`apt-get download` works in folders under `.tools/`. It needs no root, starts no service and changes
no package of the machine; it reads the machine's sources and keyrings.
"""

import fcntl
import mmap
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType

import click

FOLDER = Path(__file__).parents[2] / ".tools"
# Enough for a slow connection; a hanging mirror must not block for ever.
_FETCH_TIMEOUT_S = 300
_HINT = "install Prometheus, Alertmanager and node_exporter so that they are on PATH"

_PAGES = b"/usr/share/prometheus"
_PAGES_BY_FD = b"/proc/self/fd/9".ljust(len(_PAGES), b"/")
_WRAPPER = """#!/bin/sh
usr=$(dirname "$(readlink -f "$0")")/..
exec 9<"$usr/share/prometheus"
exec "$usr/libexec/{name}" "$@"
"""


class ToolsError(Exception):
    """A tool is missing and cannot be fetched; the one-line message names what to install."""


@dataclass(frozen=True, kw_only=True)
class Tools:
    prometheus: Path
    promtool: Path
    alertmanager: Path
    amtool: Path
    node_exporter: Path


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A program's possible names on PATH, Debian's last, and its package."""

    names: tuple[str, ...]
    package: str


_SOURCES: Mapping[str, _Source] = MappingProxyType(
    {
        "prometheus": _Source(names=("prometheus",), package="prometheus"),
        "promtool": _Source(names=("promtool",), package="prometheus"),
        "alertmanager": _Source(
            names=("alertmanager", "prometheus-alertmanager"), package="prometheus-alertmanager"
        ),
        "amtool": _Source(names=("amtool",), package="prometheus-alertmanager"),
        "node_exporter": _Source(
            names=("node_exporter", "prometheus-node-exporter"), package="prometheus-node-exporter"
        ),
    }
)


def find(name: str, *, folder: Path = FOLDER) -> Path:
    """The program called `name` (a field of `Tools`), on PATH or already fetched.

    Raises ToolsError if it is missing; never fetches.
    """
    if program := _find(name, folder):
        return program
    raise ToolsError(f"{name} is missing: run 'make tools'")


def require(*, folder: Path = FOLDER) -> Tools:
    """All tools, fetched if any is missing. Raises ToolsError."""
    names = [field.name for field in fields(Tools)]
    if not all(_find(name, folder) for name in names):
        with lock(folder):
            if not all(_find(name, folder) for name in names):
                _fetch({source.package for source in _SOURCES.values()}, folder)
    return Tools(**{name: find(name, folder=folder) for name in names})


def version(tool: Path) -> str:
    """The output of `--version`, e.g. `2.42.0+ds`; raises ToolsError if the program cannot run."""
    try:
        process = subprocess.run(
            [tool, "--version"], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolsError(f"{tool} does not run on this machine; remove or replace it") from error
    match = re.search(r"version (\S+)", process.stdout + process.stderr)
    return match[1] if match else "?"


def _find(name: str, folder: Path) -> Path | None:
    names = _SOURCES[name].names
    if on_path := next(filter(None, map(shutil.which, names)), None):
        # Absolute, because a child in another folder would resolve a relative entry of PATH
        # differently.
        return Path(on_path).absolute()
    fetched = folder / "debian/usr/bin" / names[-1]
    return fetched if fetched.is_file() else None


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Let a second `make` wait until the first has fetched the tools."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch(packages: set[str], folder: Path) -> None:
    if not all(map(shutil.which, ("apt-get", "dpkg-deb"))):
        raise ToolsError(
            "this system has no apt-get: install Prometheus, Alertmanager and node_exporter "
            "(https://prometheus.io/download/) so that prometheus, promtool, alertmanager, amtool "
            "and node_exporter are on PATH"
        )
    click.echo(f"fetching {', '.join(sorted(packages))} from Debian's packages", err=True)
    for stale in folder.glob("unpacking-*"):
        shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="unpacking-") as scratch:
        root = Path(scratch) / "debian"
        for deb in _download(packages, Path(scratch), folder):
            run("dpkg-deb", "-x", str(deb), str(root))
        for source in _SOURCES.values():
            _relocate(root, source.names[-1])
        # Renamed when complete, so that an interrupted fetch leaves no folder in place.
        shutil.rmtree(folder / "debian", ignore_errors=True)
        root.rename(folder / "debian")


def _download(packages: set[str], into: Path, folder: Path) -> list[Path]:
    """The .deb files, by the machine's package lists or, where these fail, by fresh ones.

    apt-get verifies its downloads against the signed lists.
    """
    apt = ("apt-get", "-qq", "-c", str(apt_config(folder)))
    try:
        return _download_by(apt, packages, into)
    except ToolsError:
        lists = folder / "apt/lists"
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        ours = (*apt, "-o", f"Dir::State::Lists={lists}")
        # A source may fail if the other sources have the packages.
        run(*ours, "update", check=False)
        return _download_by(ours, packages, into)


def _download_by(apt: tuple[str, ...], packages: set[str], into: Path) -> list[Path]:
    """Download the packages, and those with the scripts and fonts of their web pages."""
    debs: set[Path] = set()
    while packages:
        run(*apt, "download", *sorted(packages), cwd=into)
        new = set(into.glob("*.deb")) - debs
        debs |= new
        needed = ",".join(run("dpkg-deb", "-f", str(deb), "Depends") for deb in new)
        have = {deb.name.partition("_")[0] for deb in debs}
        packages = set(re.findall(r"(?:libjs|fonts)-[a-z0-9.+-]+", needed)) - have
    return sorted(debs)


def _relocate(root: Path, name: str) -> None:
    """Make a program read its pages and templates from `root`, not from the machine.

    Debian's builds contain the path `/usr/share/prometheus`. It is replaced by the path of an open
    file descriptor, which has the same length; a script that starts the program opens it.
    """
    program, moved = root / "usr/bin" / name, root / "usr/libexec" / name
    with program.open("r+b") as file, mmap.mmap(file.fileno(), 0) as code:
        positions = [match.start() for match in re.finditer(_PAGES, code)]
        for start in positions:
            code[start : start + len(_PAGES)] = _PAGES_BY_FD
    if positions:
        moved.parent.mkdir(exist_ok=True)
        program.rename(moved)
        program.write_text(_WRAPPER.format(name=name), encoding="utf-8")
        program.chmod(0o755)


def apt_config(folder: Path) -> Path:
    """Write a configuration that apt reads after the machine's own, with its proxies."""
    cache = folder / "apt/cache"
    (cache / "archives/partial").mkdir(parents=True, exist_ok=True)
    config = folder / "apt/apt.conf"
    config.write_text(
        f'Dir::Cache "{cache}";\n'
        # The user `_apt` may not enter a private folder: without this line apt warns root.
        'APT::Sandbox::User "root";\n'
        'Acquire::Languages "none";\n'
        'Acquire::Retries "3";\n'
        # Skipped, because descriptions of desktop applications are larger than all needed packages.
        'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";\n'
        # Cleared, because the machine's hooks call its services and clean its caches.
        "#clear APT::Update::Pre-Invoke;\n"
        "#clear APT::Update::Post-Invoke;\n"
        "#clear APT::Update::Post-Invoke-Success;\n",
        encoding="utf-8",
    )
    return config


def run(*command: str, cwd: Path | None = None, check: bool = True, hint: str = _HINT) -> str:
    """The output of the command. Raises ToolsError, which ends with the hint."""
    try:
        return subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=_FETCH_TIMEOUT_S, check=check
        ).stdout
    except subprocess.TimeoutExpired as error:
        raise ToolsError(f"{command[0]} did not end within {_FETCH_TIMEOUT_S} s") from error
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or [f"exit code {error.returncode}"]
        raise ToolsError(f"{command[0]} failed ({lines[-1].strip()}): {hint}") from error


def main(*, folder: Path = FOLDER) -> int:
    """`make tools`: print a line for each tool, or one line that names the missing program."""
    try:
        tools = require(folder=folder)
        paths = {field.name: getattr(tools, field.name) for field in fields(Tools)}
        with ThreadPoolExecutor() as pool:
            versions = list(pool.map(version, paths.values()))
    except ToolsError as error:
        click.echo(f"tools: {error}", err=True)
        return 1
    for (name, path), number in zip(paths.items(), versions, strict=True):
        click.echo(f"{name:14} {number:12} {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
