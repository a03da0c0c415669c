"""Faults and look-alikes of a machine: `faults.py NAME` starts one, and ends at once.

What goes on is a process of its own, so that only what really ends a process ends it. A look-alike
does what a healthy machine does at times: it takes CPU and disk, and ends by itself.
"""

import bz2
import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

_DATA = Path("/data")
_CHUNK = b"x" * (1 << 20)
_BATCH_S = 180.0
_ARCHIVE_BYTES, _PART_BYTES = 4 << 20, 128 << 10
_AFTER_S = 0.5
_LEAK_EVERY_S = 0.05
# Mebibytes at a time: on a busy host, too, the kernel kills it within a minute.
_HUNGER = 4


def spin() -> None:
    """A process that never yields."""
    _name("runaway")
    while True:
        pass


def batch_job() -> None:
    """Archives the log at a steady pace and compresses it meanwhile, as a nightly job does."""
    _name("nightly-compress")
    until = time.monotonic() + _BATCH_S
    (_DATA / "tmp").mkdir(exist_ok=True)
    archive, packed = _DATA / "tmp/log.tar", _DATA / "tmp/log.bz2"
    at = time.monotonic()
    while at < until:
        text = (_DATA / "log/service.log").read_bytes() or _CHUNK
        with archive.open("wb") as file:
            file.write((text * (_ARCHIVE_BYTES // len(text) + 1))[:_ARCHIVE_BYTES])
            file.flush()
            os.fsync(file.fileno())
        at += 1
        while time.monotonic() < at:
            packed.write_bytes(bz2.compress(text[:_PART_BYTES]))
    archive.unlink()
    packed.unlink()


def compile_job() -> None:
    """Compiles the whole standard library once, without keeping it."""
    _name("compile")
    for source in Path(os.__file__).parent.glob("*.py"):
        compile(source.read_bytes(), str(source), "exec")


def rotate_log() -> None:
    """Log rotation: the log is copied, compressed, and begun again."""
    _name("logrotate")
    log = _DATA / "log/service.log"
    (_DATA / "log/service.log.2.bz2").write_bytes(bz2.compress(log.read_bytes()))
    log.write_bytes(b"")


def warm_cache() -> None:
    """Asks the service for many pages in a row, as after a deploy."""
    for number in range(200):
        with socket.create_connection(("127.0.0.1", 8080), timeout=5) as client:
            client.sendall(f"GET /page/{number} HTTP/1.0\r\n\r\n".encode())
            client.recv(4096)


def fill_disk() -> None:
    """A rotated log that grows until the filesystem is full."""
    _name("verbose-logger")
    with (_DATA / "log/service.log.1").open("wb", buffering=0) as file:
        while True:
            try:
                file.write(_CHUNK)
            except OSError:
                return
            time.sleep(0.05)


def fill_inodes() -> None:
    """Empty files until no inode is left."""
    (_DATA / "tmp").mkdir(exist_ok=True)
    for number in range(1 << 20):
        try:
            (_DATA / f"tmp/{number}").touch()
        except OSError:
            return


def hold_workers() -> None:
    """Callers that keep every worker of the service busy."""
    _name("slow-client")
    clients = [socket.create_connection(("127.0.0.1", 8080)) for _ in range(48)]
    for client in clients:
        client.sendall(b"GET /hold/600 HTTP/1.0\r\n\r\n")
    time.sleep(600)


def leak_descriptors() -> None:
    """Open files until the limit of the process, in a few processes."""
    _name("descriptor-leak")
    files = []
    while True:
        try:
            files.append(Path("/proc/uptime").open())  # noqa: SIM115 the leak
        except OSError:
            time.sleep(3600)


def leak_connections() -> None:
    """Connections to the exporter that are kept and never used again, until no file is left."""
    _name("connection-leak")
    kept = []
    while True:
        try:
            kept.append(socket.create_connection(("127.0.0.1", 9100), timeout=5))
        except OSError:
            time.sleep(3600)
        time.sleep(_LEAK_EVERY_S)


def storm_of_forks() -> None:
    """Processes that start others, up to 200."""
    _name("fork-storm")
    for _ in range(200):
        if os.fork() == 0:
            time.sleep(3600)
    while True:
        sum(range(1000))


def crash_loop() -> None:
    """Kills the service whenever it is up."""
    _name("crasher")
    while True:
        _signal_service(signal.SIGKILL)
        time.sleep(1.5)


def mount_read_only() -> None:
    """Every file system becomes read-only, as ext4 does on an error: SysRq's key `u`.

    A remount by mount(2) would be refused while a file is open for writing.
    https://docs.kernel.org/admin-guide/sysrq.html
    """
    Path("/proc/sys/kernel/sysrq").write_text("1")
    Path("/proc/sysrq-trigger").write_text("u")


def panic() -> None:
    """A kernel panic: https://docs.kernel.org/admin-guide/sysrq.html, key `c`."""
    Path("/proc/sys/kernel/sysrq").write_text("1")
    Path("/proc/sysrq-trigger").write_text("c")


def exhaust_memory() -> None:
    """A process that takes memory until the kernel kills one."""
    _name("hungry")
    taken: list[bytes] = []
    while True:
        taken.append(_HUNGER * _CHUNK + bytes([len(taken) % 256]))
        time.sleep(0.1)


def _signal_service(number: signal.Signals) -> None:
    try:
        os.kill(int(Path("/run/service.pid").read_text()), number)
    except ProcessLookupError:
        return


ONCE: dict[str, Callable[[], None]] = {
    "service_hang": lambda: _signal_service(signal.SIGSTOP),
    "service_crash": lambda: _signal_service(signal.SIGKILL),
    "memory_leak": lambda: _signal_service(signal.SIGUSR1),
    "wrong_answers": lambda: _signal_service(signal.SIGUSR2),
    "read_only": mount_read_only,
}
RUNNING: dict[str, Callable[[], None]] = {
    "cpu_runaway": spin,
    "kernel_panic": panic,
    "disk_full": fill_disk,
    "inodes_full": fill_inodes,
    "workers_exhausted": hold_workers,
    "descriptor_leak": leak_descriptors,
    "connection_leak": leak_connections,
    "fork_storm": storm_of_forks,
    "crash_loop": crash_loop,
    "memory_exhausted": exhaust_memory,
    "batch_job": batch_job,
    "compile_job": compile_job,
    "log_rotation": rotate_log,
    "cache_warm_up": warm_cache,
}


def _name(text: str) -> None:
    """The name of this process in /proc, as PR_SET_NAME gives it."""
    ctypes.CDLL(None).prctl(15, text.encode(), 0, 0, 0)


def _detach() -> bool:
    """Whether this is the process that goes on, a child of process 1."""
    if os.fork():
        return False
    os.setsid()
    if os.fork():
        os._exit(0)
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    return True


def main(name: str) -> None:
    if name in ONCE:
        ONCE[name]()
    elif name not in RUNNING:
        raise SystemExit(f"no fault {name}")
    elif _detach():
        # The agent answers first, though the fault may take all of the processor.
        time.sleep(_AFTER_S)
        RUNNING[name]()


if __name__ == "__main__":
    main(sys.argv[1])
