"""Other versions of Prometheus and Alertmanager, and VictoriaMetrics, of several Debian releases.

They are unpacked beside each other. With a release's folder first on PATH, tests and demo run on
its programs: `PATH=$PWD/.tools/servers/trixie/root/usr/bin:$PATH make demo`.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from demo.stack import tools
from demo.stack.debian import FOLDER, ToolsError, fetch_once, unpack, use_source

_MIRROR = "http://deb.debian.org/debian"
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_HINT = "install apt and the package debian-archive-keyring"
# The releases by their packages beside Prometheus and Alertmanager.
RELEASES: Mapping[str, Sequence[str]] = {
    "bookworm": (),
    "trixie": ("victoria-metrics",),
    "sid": ("victoria-metrics",),
}


def programs(release: str, *, folder: Path = FOLDER) -> Path:
    """The folder of a release's programs, fetched if they are missing. Raises ToolsError."""
    root = folder / "servers" / release / "root"
    fetch_once(root.is_dir, lambda _: _fetch(release, root), root.parent)
    return root / "usr/bin"


def source_of(release: str) -> str:
    """The line of apt's sources.list for a release of Debian."""
    return f"deb [signed-by={_KEYRING}] {_MIRROR} {release} main"


def _fetch(release: str, root: Path) -> None:
    use_source(root.parent, source_of(release))
    packages = [*tools.packages(), *RELEASES[release]]
    unpack(packages, root, hint=_HINT, choose=tools.with_pages, finish=tools.relocate_all)


def main(releases: Sequence[str]) -> int:
    """`make servers`: print a line for each program."""
    try:
        for release in releases:
            folder = programs(release)
            for name in ("prometheus", "prometheus-alertmanager"):
                click.echo(f"{release:9} {name:24} {tools.version(folder / name)}")
    except ToolsError as error:
        click.echo(f"servers: {error}", err=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or [*RELEASES]))
