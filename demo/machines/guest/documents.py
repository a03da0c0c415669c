"""What SSM documents do on a machine: `documents.py NAME`."""

import os
import signal
import sys
import time
from pathlib import Path

# systemd waits 90 s for a unit to start (DefaultTimeoutStartSec).
_STOP_S, _STARTED_S = 3.0, 90.0
_DATA = Path("/data")


def restart_service() -> None:
    """End the service, hard if it does not end; the supervisor starts it again.

    SIGCONT follows SIGTERM, as systemd sends it, for a process that is stopped
    (https://www.freedesktop.org/software/systemd/man/latest/systemd.kill.html).
    """
    file = Path("/run/service.pid")
    before = int(file.read_text())
    for number in (signal.SIGTERM, signal.SIGCONT):
        _send(before, number)
    until = time.monotonic() + _STOP_S
    while Path(f"/proc/{before}").exists() and time.monotonic() < until:
        time.sleep(0.1)
    _send(before, signal.SIGKILL)
    until = time.monotonic() + _STARTED_S
    while file.read_text() == str(before):
        if time.monotonic() > until:
            raise SystemExit("the service was not started again")
        time.sleep(0.1)
    print(f"service: process {before} became {file.read_text()}")


def clean_disk() -> None:
    """Remove rotated logs and temporary files; never the log or the records in use."""
    freed = 0
    for file in (*_DATA.glob("log/*.log.*"), *_DATA.glob("tmp/*")):
        freed += file.stat().st_blocks * 512
        file.unlink()
    print(f"{freed >> 20} MB freed")


def clear_cache() -> None:
    """The cache is the service's own memory: it starts again without."""
    restart_service()


def capture() -> None:
    """The processes that have used the most CPU, memory, and the filesystem."""
    used = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")
        except OSError:
            continue
        rest = fields[2].split()
        used.append((int(rest[11]) + int(rest[12]), fields[0]))
    for ticks, name in sorted(used, reverse=True)[:8]:
        print(f"{ticks / os.sysconf('SC_CLK_TCK'):8.1f} s  {name})")
    print("".join(Path("/proc/meminfo").read_text().splitlines(keepends=True)[:3]), end="")
    disk = os.statvfs(_DATA)
    print(f"{_DATA}: {disk.f_bavail * disk.f_frsize >> 20} MB free")


DOCUMENTS = {
    "SmartCloudOps-RestartService": restart_service,
    "SmartCloudOps-CleanDisk": clean_disk,
    "SmartCloudOps-ClearCache": clear_cache,
    "SmartCloudOps-Capture": capture,
}


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def main(name: str) -> None:
    if name not in DOCUMENTS:
        raise SystemExit(f"no document {name}")
    DOCUMENTS[name]()


if __name__ == "__main__":
    main(sys.argv[1])
