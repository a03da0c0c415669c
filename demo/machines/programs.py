"""User-mode Linux and its virtual network: on PATH, or unpacked from Debian's packages.

`user-mode-linux` is Linux as an ordinary process (https://docs.kernel.org/virt/uml/). `vde_switch`
connects such kernels by a socket of the file system, and `vde_plug` connects the switch with
loopback by libslirp. `slirpvde` does the same but lets a guest reach the host's own loopback; the
option `restricted` of vde_plug's module forwards what is named, and nothing else
(https://man.archlinux.org/man/libvdeplug_slirp.1).
"""

import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from demo.stack.debian import FOLDER, ToolsError, fetch_once, libraries, run, unpack
from demo.stack.processes import bound_to_this_process

_PACKAGES = (
    "user-mode-linux",
    "vde-switch",
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
_HINT = "real machines need user-mode Linux from Debian's packages: FLEET=simulated goes without"
_ANSWER_S = 20


@dataclass(frozen=True, kw_only=True)
class Programs:
    """Paths of the programs, and the environment in which they find their libraries."""

    kernel: Path
    switch: Path
    plug: Path
    mke2fs: Path
    env: Mapping[str, str]


def require(*, folder: Path = FOLDER) -> Programs:
    """The programs, fetched if they are missing. Raises ToolsError where the kernel does not start.

    A kernel in user mode traces its processes by ptrace, which a container may forbid.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise ToolsError(f"user-mode Linux needs Linux on x86-64: {_HINT}")
    root = folder / "user-mode-linux"
    fetch_once(root.is_dir, lambda _: unpack(_PACKAGES, root, hint=_HINT, choose=_download), folder)
    found = Programs(
        kernel=root / "usr/bin/linux.uml",
        switch=root / "usr/bin/vde_switch",
        plug=root / "usr/bin/vde_plug",
        mke2fs=root / "sbin/mke2fs"
        if (root / "sbin/mke2fs").is_file()
        else root / "usr/sbin/mke2fs",
        env={
            "LD_LIBRARY_PATH": ":".join(libraries(root)),
            "VDEPLUGIN_PATH": ":".join(f"{path}/vdeplug" for path in libraries(root)),
            "PATH": "/usr/bin:/bin",
        },
    )
    _check(found)
    return found


def _check(programs: Programs) -> None:
    """Boot a kernel without a root, which panics, to see that it gets that far."""
    command: list[str | Path] = [
        programs.kernel,
        "mem=32M",
        "root=/dev/none",
        "con=null",
        "con0=fd:0,fd:1",
    ]
    try:
        done = subprocess.run(
            bound_to_this_process(command),
            env=dict(programs.env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_ANSWER_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolsError(f"user-mode Linux does not start here: {_HINT}") from error
    if b"Linux version" not in done.stdout:
        raise ToolsError(f"user-mode Linux does not start here: {_HINT}")


def _download(apt: Sequence[str], packages: Sequence[str], into: Path) -> None:
    """Just these packages, because apt would leave out what this machine has installed.

    A release with 64-bit time has some of them with the suffix `t64`.
    """
    known = run("apt-cache", *apt[1:], "pkgnames").split()
    names = [f"{name}t64" if f"{name}t64" in known else name for name in packages]
    run(*apt, "download", *names, cwd=into)
