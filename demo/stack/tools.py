"""Prometheus, Alertmanager and their tools: on PATH, or unpacked from Debian's packages."""

import mmap
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType

import click

from demo.stack.debian import FOLDER, ToolsError, fetch_once, run, unpack

_HINT = (
    "install Prometheus, Alertmanager and node_exporter (https://prometheus.io/download/) so that "
    "prometheus, promtool, alertmanager, amtool and node_exporter are on PATH"
)

_PAGES = b"/usr/share/prometheus"
_PAGES_BY_FD = b"/proc/self/fd/9".ljust(len(_PAGES), b"/")
_WRAPPER = """#!/bin/sh
usr=$(dirname "$(readlink -f "$0")")/..
exec 9<"$usr/share/prometheus"
exec "$usr/libexec/{name}" "$@"
"""


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
    fetch_once(lambda: all(_find(name, folder) for name in names), _fetch, folder)
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


def packages() -> Sequence[str]:
    """Debian's packages of all tools."""
    return sorted({source.package for source in _SOURCES.values()})


def _fetch(folder: Path) -> None:
    unpack(packages(), folder / "debian", hint=_HINT, choose=with_pages, finish=relocate_all)


def with_pages(apt: Sequence[str], packages: Sequence[str], into: Path) -> None:
    """Download the packages, and those with the scripts and fonts of their web pages.

    Since Debian 13, promtool has a package of its own.
    """
    missing, debs = {*packages}, set[Path]()
    while missing:
        run(*apt, "download", *sorted(missing), cwd=into)
        new = set(into.glob("*.deb")) - debs
        debs |= new
        needed = ",".join(run("dpkg-deb", "-f", str(deb), "Depends") for deb in new)
        have = {deb.name.partition("_")[0] for deb in debs}
        missing = set(re.findall(r"(?:libjs|fonts)-[a-z0-9.+-]+|promtool", needed)) - have


def relocate_all(root: Path) -> None:
    """Make the unpacked tools read their pages from `root`."""
    for source in _SOURCES.values():
        _relocate(root, source.names[-1])


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
