"""The root folder of every machine, and its empty disk: copies of what this machine has.

The folder holds this Python with its standard library, node_exporter, the C libraries they need,
and demo/machines/guest. A kernel started with `hostfs=FOLDER` has it as its root, and mounts it
read-only. Other files of the host are out of reach, unless a process of the machine mounts a path
with `..` (tried on 6.1): init takes the capability to mount from what it starts.
"""

import hashlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from demo.machines import programs
from demo.machines.guest.init import RUNS
from demo.machines.programs import HINT, SHELL_PATH, Programs
from demo.stack import tools
from demo.stack.debian import FOLDER, ToolsError, fetch_once, print_path, run
from demo.stack.processes import bound_to_this_process

_GUEST = Path(__file__).with_name("guest")
_DISK_MB = 192
_TRIED_S = 60
_KEPT_S = 86_400.0
_UNUSED = shutil.ignore_patterns(
    "test", "tests", "idlelib", "tkinter", "turtledemo", "site-packages", "ensurepip", "lib2to3"
)
_FOLDERS = ("proc", "sys", "dev", "run", "tmp", "data", "etc", "usr/bin", "opt/machine")


@dataclass(frozen=True, kw_only=True)
class Image:
    """`root` is read-only and shared; `disk` is an empty ext4 file system, to be copied."""

    root: Path
    disk: Path


def require(found: Programs, *, folder: Path = FOLDER) -> Image:
    """The image, made once for each version of its parts.

    Raises ToolsError where no program runs in it: a kernel in user mode traces its processes by
    ptrace, which a container may forbid.
    """
    exporter = tools.require(folder=folder).node_exporter
    home = folder / "machine-images" / _digest(exporter)
    fetch_once(home.is_dir, lambda _: _make(found, exporter, home), folder)
    return Image(root=home / "root", disk=home / "disk.img")


def _digest(exporter: Path) -> str:
    parts = [sys.version, str(exporter.resolve()), str(_DISK_MB)]
    parts += [path.read_text() for path in sorted(_GUEST.glob("*.py"))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _make(found: Programs, exporter: Path, home: Path) -> None:
    home.parent.mkdir(parents=True, exist_ok=True)
    for old in home.parent.iterdir():
        # A younger one may be in use.
        if old.stat().st_mtime < time.time() - _KEPT_S:
            shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=home.parent, prefix="making-") as scratch:
        made = Path(scratch) / "image"
        root = made / "root"
        for name in _FOLDERS:
            (root / name).mkdir(parents=True)
        python = _copy_python(root)
        shutil.copy2(exporter.resolve(), root / "usr/bin/node_exporter")
        _copy_libraries(root, [python, *_modules(), exporter.resolve()])
        for script in _GUEST.glob("*.py"):
            shutil.copy2(script, root / "opt/machine" / script.name)
        init = root / "init"
        init.write_text(f"#!{python} -IS\n" + (_GUEST / "init.py").read_text(), encoding="utf-8")
        init.chmod(0o755)
        _make_disk(found, made / "disk.img")
        _try_out(found, root)
        made.rename(home)


def _try_out(found: Programs, root: Path) -> None:
    """Boot once: a kernel may start and yet run no program."""
    command: list[str | Path] = [
        found.kernel,
        f"uml_dir={root.parent / 'kernels'}",
        *("mem=64M", f"hostfs={root}", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro"),
        *("init=/init", "noreboot", "con=null", "con0=fd:0,fd:1", "TRY=1"),
    ]
    failed = f"user-mode Linux does not run here: {HINT}"
    try:
        done = subprocess.run(
            bound_to_this_process(command),
            env={"PATH": SHELL_PATH},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_TRIED_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolsError(failed) from error
    if RUNS.encode() not in done.stdout:
        raise ToolsError(failed)


def _copy_python(root: Path) -> Path:
    """Copy the interpreter, and its library, to their own paths; the interpreter's."""
    python = Path(sys.base_prefix, "bin", f"python{sysconfig.get_python_version()}")
    library = Path(sysconfig.get_path("stdlib", vars={"installed_base": sys.base_prefix}))
    for source in (python, library):
        into = _below(root, source)
        into.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, into, symlinks=True, ignore=_UNUSED)
        else:
            shutil.copy2(source.resolve(), into)
    return python


def _modules() -> list[Path]:
    folder = sysconfig.get_config_var("DESTSHARED") or ""
    return sorted(Path(folder).glob("*.so"))


def _copy_libraries(root: Path, programs: Iterable[Path]) -> None:
    for library in {path for program in programs for path in _needed(program)}:
        into = _below(root, library)
        into.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(library.resolve(), into)
    # The loader looks into its own folders alone, unless a cache says more; only root may make one,
    # and not every user's PATH has its program.
    run("/sbin/ldconfig", "-r", str(root), check=False)


def _needed(program: Path) -> Iterator[Path]:
    """The shared libraries of a program, with the loader, as `ldd` lists them."""
    listed = run("ldd", str(program), check=False)
    return map(Path, re.findall(r"(/\S+) \(0x", listed))


def _below(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _make_disk(found: Programs, path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(_DISK_MB << 20)
    # Little is reserved for root, as which everything runs here.
    command: list[str | Path] = [
        found.mke2fs,
        "-q",
        "-F",
        "-t",
        "ext4",
        "-m",
        "0",
        "-E",
        "lazy_itable_init=1",
    ]
    try:
        subprocess.run(
            [*command, path], env=dict(found.env), check=True, capture_output=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ToolsError(f"mke2fs failed: {error}") from error


def main() -> int:
    """`make machines`: print the image's path."""
    return print_path("machines", "user-mode Linux", lambda: require(programs.require()).root)


if __name__ == "__main__":
    sys.exit(main())
