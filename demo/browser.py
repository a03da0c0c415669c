"""A browser for the console's tests: found on PATH, or unpacked from Debian's packages.

As in `demo.tools`, no root is needed and the machine's packages stay as they are: what apt would
install for it is downloaded, unpacked into a folder of its own, and found there by a script.
"""

import re
import shutil
import sys
import tempfile
from pathlib import Path

import click

from demo.tools import FOLDER, ToolsError, alone, apt_config, run

# No window, no profile but a fresh one, and no talk with anybody but the page.
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_INSTALL = ("--no-install-recommends", "install", "chromium", "fonts-dejavu-core")
_WRAPPER = """#!/bin/sh
root=$(dirname "$(readlink -f "$0")")
for libraries in "$root"/usr/lib/*-linux-gnu "$root"/lib/*-linux-gnu; do
  LD_LIBRARY_PATH="$libraries:$LD_LIBRARY_PATH"
done
export LD_LIBRARY_PATH
[ -e /etc/fonts/fonts.conf ] || export FONTCONFIG_SYSROOT="$root"
exec "$root/usr/lib/chromium/chromium" "$@"
"""
_HINT = "install Chromium so that it is on PATH"


def find(*, folder: Path = FOLDER) -> Path:
    """The browser. Raises ToolsError where there is none; never fetches."""
    if found := _look(folder):
        return found
    raise ToolsError("there is no Chromium here: run 'make browser'")


def require(*, folder: Path = FOLDER) -> Path:
    """The browser, fetched where it is missing. Raises ToolsError."""
    if not _look(folder):
        with alone(folder):
            if not _look(folder):
                _fetch(folder)
    return find(folder=folder)


def _look(folder: Path) -> Path | None:
    if found := next(filter(None, map(shutil.which, _NAMES)), None):
        return Path(found).absolute()
    fetched = folder / "chromium/run"
    return fetched if fetched.is_file() else None


def _fetch(folder: Path) -> None:
    if not all(map(shutil.which, ("apt-get", "dpkg-deb"))):
        raise ToolsError(f"this system has no apt-get: {_HINT}")
    click.echo("fetching chromium from Debian's packages", err=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="unpacking-") as scratch:
        root, debs = Path(scratch) / "chromium", Path(scratch) / "debs"
        debs.mkdir()
        _download(debs, folder)
        for deb in sorted(debs.glob("*.deb")):
            run("dpkg-deb", "-x", str(deb), str(root), hint=_HINT)
        script = root / "run"
        script.write_text(_WRAPPER, encoding="utf-8")
        script.chmod(0o755)
        # Renamed when complete: what is in place was never interrupted.
        shutil.rmtree(folder / "chromium", ignore_errors=True)
        root.rename(folder / "chromium")


def _download(into: Path, folder: Path) -> None:
    """By the machine's package lists or, where those are missing or old, by ours."""
    apt = ("apt-get", "-qq", "-c", str(apt_config(folder)))
    try:
        _download_by(apt, into)
    except ToolsError:
        lists = folder / "apt/lists"
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        ours = (*apt, "-o", f"Dir::State::Lists={lists}")
        # One source that fails must not matter while the others have the packages.
        run(*ours, "update", check=False, hint=_HINT)
        _download_by(ours, into)


def _download_by(apt: tuple[str, ...], into: Path) -> None:
    """All that an installation would add to this machine."""
    simulated = run(*apt, "--simulate", *_INSTALL, hint=_HINT)
    packages = re.findall(r"^Inst (\S+)", simulated, re.MULTILINE)
    run(*apt, "download", *packages, cwd=into, hint=_HINT)


def main(*, folder: Path = FOLDER) -> int:
    """`make browser`: where it is, or one line on what is missing."""
    try:
        click.echo(f"{'chromium':14} {require(folder=folder)}")
    except ToolsError as error:
        click.echo(f"browser: {error}", err=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
