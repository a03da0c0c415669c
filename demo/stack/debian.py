"""Programs on PATH, or unpacked from Debian's packages into folders under `.tools/`.

This needs no root, starts no service and changes no package of the machine; it reads the machine's
sources and keyrings.
"""

import fcntl
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

FOLDER = Path(__file__).parents[2] / ".tools"
# Enough for a slow connection; a hanging mirror must not block for ever.
_FETCH_TIMEOUT_S = 300


class ToolsError(Exception):
    """A tool is missing and cannot be fetched; the one-line message names what to install."""


def fetch_once(there: Callable[[], object], fetch: Callable[[Path], None], folder: Path) -> None:
    """Fetch what is not there; a second `make` waits until the first has. Raises ToolsError."""
    if not there():
        with _lock(folder):
            if not there():
                fetch(folder)


def print_path(target: str, name: str, require: Callable[[], Path]) -> int:
    """The result of `make TARGET`: the program's path, or one line that names what is missing."""
    try:
        click.echo(f"{name:14} {require()}")
    except ToolsError as error:
        click.echo(f"{target}: {error}", err=True)
        return 1
    return 0


def with_dependencies(apt: Sequence[str], packages: Sequence[str], into: Path) -> None:
    """Download the packages that apt would install."""
    simulated = run(*apt, "--simulate", "--no-install-recommends", "install", *packages)
    needed = re.findall(r"^Inst (\S+)", simulated, re.MULTILINE)
    run(*apt, "download", *needed, cwd=into)


def unpack(
    packages: Sequence[str],
    into: Path,
    *,
    hint: str,
    choose: Callable[[Sequence[str], Sequence[str], Path], None] = with_dependencies,
    finish: Callable[[Path], None] = lambda _: None,
) -> None:
    """Unpack the packages into the folder `into`.

    `choose` downloads them and what they need, by an apt command. `finish` is called with the
    complete folder before it is moved to `into`. Raises ToolsError, which ends with the `hint`.
    """
    folder = into.parent
    if not all(map(shutil.which, ("apt-get", "dpkg-deb"))):
        raise ToolsError(f"this system has no apt-get: {hint}")
    click.echo(f"fetching {', '.join(packages)} from Debian's packages", err=True)
    for stale in folder.glob("unpacking-*"):
        shutil.rmtree(stale, ignore_errors=True)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix="unpacking-") as scratch:
            root, debs = Path(scratch) / "root", Path(scratch) / "debs"
            debs.mkdir()
            _download(packages, debs, folder, choose)
            for deb in sorted(debs.glob("*.deb")):
                run("dpkg-deb", "-x", str(deb), str(root))
            finish(root)
            # Renamed when complete, so that an interrupted unpacking leaves no folder in place.
            shutil.rmtree(into, ignore_errors=True)
            root.rename(into)
    except ToolsError as error:
        raise ToolsError(f"{error}: {hint}") from error


def use_source(folder: Path, line: str) -> None:
    """Unpack below the folder from this line of apt's sources.list, not from the machine's."""
    sources = _sources(folder)
    sources.parent.mkdir(parents=True, exist_ok=True)
    sources.write_text(line)


def libraries(root: Path) -> list[str]:
    """The library folders of an unpacked program."""
    folders = (root.glob(f"{top}/*-linux-gnu") for top in ("usr/lib", "lib"))
    return [str(path) for paths in folders for path in sorted(paths)]


def run(*command: str, cwd: Path | None = None, check: bool = True) -> str:
    """The output of the command. Raises ToolsError."""
    try:
        return subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=_FETCH_TIMEOUT_S, check=check
        ).stdout
    except OSError as error:
        raise ToolsError(f"{command[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise ToolsError(f"{command[0]} did not end within {_FETCH_TIMEOUT_S} s") from error
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or [f"exit code {error.returncode}"]
        raise ToolsError(f"{command[0]} failed ({lines[-1].strip()})") from error


def _download(
    packages: Sequence[str],
    into: Path,
    folder: Path,
    choose: Callable[[Sequence[str], Sequence[str], Path], None],
) -> None:
    """Download by the machine's package lists or, if those are missing or old, by fresh ones.

    apt-get verifies its downloads against the signed lists.
    """
    apt = ("apt-get", "-qq", "-c", str(_apt_config(folder)))
    try:
        choose(apt, packages, into)
    except ToolsError:
        lists = folder / "apt/lists"
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        ours = (*apt, "-o", f"Dir::State::Lists={lists}")
        # A source may fail if the other sources have the packages.
        run(*ours, "update", check=False)
        choose(ours, packages, into)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sources(folder: Path) -> Path:
    return folder / "apt/sources.list"


def _apt_config(folder: Path) -> Path:
    """Write a configuration that apt reads after the machine's own, with its proxies."""
    cache = folder / "apt/cache"
    (cache / "archives/partial").mkdir(parents=True, exist_ok=True)
    config, sources = folder / "apt/apt.conf", _sources(folder)
    only = f'Dir::Etc::sourcelist "{sources}";\nDir::Etc::sourceparts "/dev/null";\n'
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
        "#clear APT::Update::Post-Invoke-Success;\n" + (only if sources.is_file() else ""),
        encoding="utf-8",
    )
    return config
