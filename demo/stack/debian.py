"""Unpacks Debian packages with all their dependencies into a folder of their own.

As in `demo.stack.tools`, this needs no root and leaves the machine's packages alone: it downloads
and unpacks the packages that apt would install.
"""

import re
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from demo.stack.tools import ToolsError, apt_config, run


def unpack(
    packages: Sequence[str],
    into: Path,
    *,
    hint: str,
    finish: Callable[[Path], None] = lambda _: None,
) -> None:
    """Unpack the packages and their missing dependencies into the folder `into`.

    `finish` is called with the complete folder before it is moved to `into`. Raises ToolsError,
    with the `hint`.
    """
    folder = into.parent
    if not all(map(shutil.which, ("apt-get", "dpkg-deb"))):
        raise ToolsError(f"this system has no apt-get: {hint}")
    click.echo(f"fetching {packages[0]} from Debian's packages", err=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix="unpacking-") as scratch:
        root, debs = Path(scratch) / "root", Path(scratch) / "debs"
        debs.mkdir()
        _download(packages, debs, folder, hint)
        for deb in sorted(debs.glob("*.deb")):
            run("dpkg-deb", "-x", str(deb), str(root), hint=hint)
        finish(root)
        # Renamed when complete, so that an interrupted unpacking leaves no folder in place.
        shutil.rmtree(into, ignore_errors=True)
        root.rename(into)


def libraries(root: Path) -> list[str]:
    """The library folders of an unpacked program."""
    folders = (root.glob(f"{top}/*-linux-gnu") for top in ("usr/lib", "lib"))
    return [str(path) for paths in folders for path in sorted(paths)]


def _download(packages: Sequence[str], into: Path, folder: Path, hint: str) -> None:
    """Download by the machine's package lists or, if those are missing or old, by fresh ones."""
    apt = ("apt-get", "-qq", "-c", str(apt_config(folder)))
    try:
        _download_by(apt, packages, into, hint)
    except ToolsError:
        lists = folder / "apt/lists"
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        ours = (*apt, "-o", f"Dir::State::Lists={lists}")
        # A source may fail if the other sources have the packages.
        run(*ours, "update", check=False, hint=hint)
        _download_by(ours, packages, into, hint)


def _download_by(apt: tuple[str, ...], packages: Sequence[str], into: Path, hint: str) -> None:
    simulated = run(*apt, "--simulate", "--no-install-recommends", "install", *packages, hint=hint)
    needed = re.findall(r"^Inst (\S+)", simulated, re.MULTILINE)
    run(*apt, "download", *needed, cwd=into, hint=hint)
