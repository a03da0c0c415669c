"""Process 1 of a machine: mounts, the network card, and a supervisor of three services.

The kernel gives it `NAME` and `ADDRESS` of the machine, from the kernel's command line, as
environment variables. Ctrl-Alt-Del, which EC2's request to shut down becomes, arrives as SIGINT
(https://man7.org/linux/man-pages/man2/reboot.2.html, LINUX_REBOOT_CMD_CAD_OFF).
"""

import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from types import FrameType

_OPT = Path("/opt/machine")
_RUN = Path("/run")
_LIBC = ctypes.CDLL(None, use_errno=True)
_CAD_OFF, _RESTART = 0x00000000, 0x01234567
_SIOCSIFADDR, _SIOCSIFNETMASK, _SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8916, 0x891C, 0x8913, 0x8914
_SIOCSIFNAME = 0x8923
_IFF_UP = 0x1
# What it says where it is started only to see that programs run, by the variable TRY.
RUNS = "programs run"
_PR_CAPBSET_DROP, _CAP_SYS_ADMIN = 24, 21
# As systemd's RestartSec, longer so that a crash loop does not take the whole CPU.
_RESTART_S = 0.5
_STOP_S = 4.0
_MOUNTS = (
    ("proc", "/proc", "proc"),
    ("sysfs", "/sys", "sysfs"),
    ("devtmpfs", "/dev", "devtmpfs"),
    ("tmpfs", "/run", "tmpfs"),
    ("tmpfs", "/tmp", "tmpfs"),  # noqa: S108 a mount point of the guest
    ("/dev/ubda", "/data", "ext4"),
)
UNITS: dict[str, list[str]] = {
    "exporter": [
        "/usr/bin/node_exporter",
        "--web.listen-address=:9100",
        "--web.disable-exporter-metrics",
        "--collector.disable-defaults",
        *(
            f"--collector.{name}"
            for name in (
                "cpu",
                "diskstats",
                "filefd",
                "filesystem",
                "loadavg",
                "meminfo",
                "netdev",
                "netstat",
                "sockstat",
                "stat",
                "textfile",
                "time",
                "vmstat",
            )
        ),
        "--collector.textfile.directory=/run/metrics",
        "--collector.filesystem.mount-points-exclude=^/($|dev|proc|sys|run|tmp)($|/)?",
    ],
    "agent": [sys.executable, "-IS", str(_OPT / "agent.py")],
    "service": [sys.executable, "-IS", str(_OPT / "service.py")],
}


def mount_all() -> None:
    """Mount what is not mounted. A filesystem that is missing leaves a line on the console."""
    for source, target, kind in _MOUNTS:
        done = _LIBC.mount(source.encode(), target.encode(), kind.encode(), 0, None)
        if done and kind != "devtmpfs":
            say(f"cannot mount {target}: {os.strerror(ctypes.get_errno())}")
    (_RUN / "metrics").mkdir(exist_ok=True)


def raise_network(address: str) -> None:
    """Loopback, and the card; there is no route to anything but the switch."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        # As a distribution names it.
        fcntl.ioctl(control, _SIOCSIFNAME, struct.pack("16s24s", b"vec0", b"eth0"))
        for card, own in (("lo", "127.0.0.1"), ("eth0", address)):
            name = card.encode().ljust(16, b"\0")
            for request, value in ((_SIOCSIFADDR, own), (_SIOCSIFNETMASK, "255.255.255.0")):
                packed = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(value))
                fcntl.ioctl(control, request, name + packed)
            answer = fcntl.ioctl(control, _SIOCGIFFLAGS, name + bytes(24))
            (flags,) = struct.unpack("H", answer[16:18])
            fcntl.ioctl(control, _SIOCSIFFLAGS, name + struct.pack("H22x", flags | _IFF_UP))


class Supervisor:
    """Starts every unit again when it ends, like systemd's `Restart=always`."""

    def __init__(self) -> None:
        self._pids: dict[int, str] = {}
        self._due: dict[str, float] = dict.fromkeys(UNITS, 0.0)
        self._ending = False

    def run(self) -> None:
        """Until the machine is told to shut down."""
        signal.signal(signal.SIGINT, self._end)
        signal.signal(signal.SIGTERM, self._end)
        while not self._ending:
            now = time.monotonic()
            for name in [name for name, at in self._due.items() if at <= now]:
                self._start(name)
            self._reap()
            time.sleep(0.2)

    def stop(self) -> None:
        """SIGTERM and SIGCONT to every process, SIGKILL to those that are left."""
        for number in (signal.SIGTERM, signal.SIGCONT):
            os.kill(-1, number)
        until = time.monotonic() + _STOP_S
        while self._reap() and time.monotonic() < until:
            time.sleep(0.1)
        os.kill(-1, signal.SIGKILL)

    def _end(self, _: int, __: FrameType | None) -> None:
        self._ending = True

    def _start(self, name: str) -> None:
        del self._due[name]
        pid = os.fork()
        if pid == 0:
            os.setsid()
            # A mount of the host's files by a path with `..` would leave the machine's own folder.
            _LIBC.prctl(_PR_CAPBSET_DROP, _CAP_SYS_ADMIN, 0, 0, 0)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.execv(UNITS[name][0], UNITS[name])  # noqa: S606 the purpose of a supervisor
        self._pids[pid] = name
        (_RUN / f"{name}.pid").write_text(str(pid))

    def _reap(self) -> bool:
        """Collect what has ended; whether anything is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if not pid:
                return True
            name = self._pids.pop(pid, None)
            if name is not None and not self._ending:
                say(f"{name} ended with status {status}, and is started again")
                self._due[name] = time.monotonic() + _RESTART_S


def say(text: str) -> None:
    """A line on the console."""
    print(f"init: {text}", flush=True)  # noqa: T201 the console is its output


def main() -> None:
    if "TRY" in os.environ:
        say(RUNS)
        _LIBC.reboot(_RESTART)
    mount_all()
    socket.sethostname(os.environ["NAME"])
    raise_network(os.environ["ADDRESS"])
    _LIBC.reboot(_CAD_OFF)
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    say(f"{os.uname().release} is up at {os.environ['ADDRESS']}, boot {boot_id}")
    supervisor = Supervisor()
    supervisor.run()
    say("shuts down")
    supervisor.stop()
    os.sync()
    _LIBC.umount(b"/data")
    say("restarts")
    _LIBC.reboot(_RESTART)


if __name__ == "__main__":
    main()
