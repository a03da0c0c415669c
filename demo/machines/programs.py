"""User-mode Linux and its way to loopback: unpacked from Debian's packages.

`user-mode-linux` is Linux as an ordinary process (https://docs.kernel.org/virt/uml/). Until Linux
6.13 it ran no program on processors with AMX, whose registers are larger than it knew, so it comes
from Debian's sid, with the C library that it was built for. `vde_plug` connects the switch
with loopback by libslirp. `slirpvde` does the same but lets a guest reach the host's own loopback;
the option `restricted` of vde_plug's module forwards what is named, and nothing else
(https://man.archlinux.org/man/libvdeplug_slirp.1).
"""

import platform
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.stack.debian import FOLDER, ToolsError, fetch_once, libraries, run, unpack, use_source
from demo.stack.servers import source_of

# What boots a kernel in the shell.
SHELL_PATH = "/usr/bin:/bin"
_KERNEL_PACKAGES = ("user-mode-linux", "libc6")
_PACKAGES = (
    "vdeplug",
    "libvdeplug2",
    "libvdeplug-slirp",
    "libvdeslirp0",
    "libslirp0",
    "libglib2.0-0",
    "libpcre2-8-0",
    "e2fsprogs",
    "libext2fs2",
    "libcom-err2",
    "libss2",
    "libblkid1",
    "libuuid1",
)
HINT = "real machines need user-mode Linux from Debian's packages: FLEET=simulated goes without"
# The loader that the kernel names must be the one of its own C library. It is opened beforehand,
# since the place for its name in the file is too short for a path.
_LOADER, _LOADER_BY_FD = b"/lib64/ld-linux-x86-64.so.2", b"/proc/self/fd/9"
_WRAPPER = """#!/bin/sh
usr=$(dirname "$(readlink -f "$0")")/..
exec 9<"$usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
LD_LIBRARY_PATH="$usr/lib/x86_64-linux-gnu" exec "$usr/libexec/linux.uml" "$@"
"""


@dataclass(frozen=True, kw_only=True)
class Programs:
    """Paths of the programs, and the environment in which vde_plug and mke2fs find libraries."""

    kernel: Path
    plug: Path
    mke2fs: Path
    env: Mapping[str, str]


def require(*, folder: Path = FOLDER, architecture: str = platform.machine()) -> Programs:
    """The programs, fetched if they are missing. Raises ToolsError."""
    if sys.platform != "linux" or architecture != "x86_64":
        raise ToolsError(f"user-mode Linux needs Linux on x86-64: {HINT}")
    root, kernel = folder / "virtual-network", folder / "kernel/root"
    fetch_once(root.is_dir, lambda _: unpack(_PACKAGES, root, hint=HINT, choose=_download), folder)
    fetch_once(kernel.is_dir, lambda _: _fetch_kernel(kernel), kernel.parent)
    return Programs(
        kernel=kernel / "usr/bin/linux.uml",
        plug=root / "usr/bin/vde_plug",
        mke2fs=root / "sbin/mke2fs"
        if (root / "sbin/mke2fs").is_file()
        else root / "usr/sbin/mke2fs",
        env={
            "LD_LIBRARY_PATH": ":".join(libraries(root)),
            "VDEPLUGIN_PATH": ":".join(f"{path}/vdeplug" for path in libraries(root)),
            "PATH": SHELL_PATH,
        },
    )


def _fetch_kernel(root: Path) -> None:
    use_source(root.parent, source_of("sid"))
    unpack(_KERNEL_PACKAGES, root, hint=HINT, choose=_download, finish=_relocate)


def _relocate(root: Path) -> None:
    """Let the kernel find its C library beside it; its modules, which nothing loads, are removed.

    Raises ToolsError where it names another loader.
    """
    program, moved = root / "usr/bin/linux.uml", root / "usr/libexec/linux.uml"
    raw = program.read_bytes()
    if raw.count(_LOADER) != 1:
        raise ToolsError("user-mode Linux has another loader than glibc's")
    moved.parent.mkdir(exist_ok=True)
    moved.write_bytes(raw.replace(_LOADER, _LOADER_BY_FD.ljust(len(_LOADER), b"\0")))
    moved.chmod(0o755)
    program.write_text(_WRAPPER)
    shutil.rmtree(root / "usr/lib/uml", ignore_errors=True)


def _download(apt: Sequence[str], packages: Sequence[str], into: Path) -> None:
    """Just these packages, because apt would leave out what this machine has installed.

    A release with 64-bit time has some of them with the suffix `t64`.
    """
    known = run("apt-cache", *apt[1:], "pkgnames").split()
    names = [f"{name}t64" if f"{name}t64" in known else name for name in packages]
    run(*apt, "download", *names, cwd=into)
