"""A browser for the console's tests: on PATH, or unpacked from Debian's packages.

A script sets the library paths and starts the unpacked browser.
"""

import shutil
import sys
from pathlib import Path

from demo.stack.debian import FOLDER, ToolsError, fetch_once, print_path, unpack

# No window, a fresh profile, and no network requests except those of the page.
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
_PACKAGES = ("chromium", "fonts-dejavu-core")
_WRAPPER = """#!/bin/sh
root=$(dirname "$(readlink -f "$0")")
for folder in "$root"/usr/lib/*-linux-gnu "$root"/lib/*-linux-gnu "$root"/usr/lib/*/pulseaudio; do
  LD_LIBRARY_PATH="$folder:$LD_LIBRARY_PATH"
done
export LD_LIBRARY_PATH
[ -e /etc/fonts/fonts.conf ] || export FONTCONFIG_SYSROOT="$root"
exec "$root/usr/lib/chromium/chromium" "$@"
"""
_HINT = "install Chromium so that it is on PATH"


def find(*, folder: Path = FOLDER) -> Path:
    """The path of the browser. Raises ToolsError if it is missing; never fetches it."""
    if program := _find(folder):
        return program
    raise ToolsError("Chromium is missing: run 'make browser'")


def require(*, folder: Path = FOLDER) -> Path:
    """The path of the browser, fetched if missing. Raises ToolsError."""
    fetch_once(lambda: _find(folder), _fetch, folder)
    return find(folder=folder)


def _find(folder: Path) -> Path | None:
    if on_path := next(filter(None, map(shutil.which, _NAMES)), None):
        return Path(on_path).absolute()
    fetched = folder / "chromium/run"
    return fetched if fetched.is_file() else None


def _fetch(folder: Path) -> None:
    unpack(_PACKAGES, folder / "chromium", hint=_HINT, finish=_write_script)


def _write_script(root: Path) -> None:
    script = root / "run"
    script.write_text(_WRAPPER, encoding="utf-8")
    script.chmod(0o755)


if __name__ == "__main__":
    sys.exit(print_path("browser", "chromium", require))
