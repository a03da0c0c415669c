"""The agent of a machine, in the role of the SSM agent: runs documents and faults, tells facts.

It also asks the service for its counters every few seconds and leaves them to node_exporter's
textfile collector; a service that does not answer has `service_up` 0.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent
_SERVICE = "http://127.0.0.1:8080/metrics"
_PROBE_S, _PROBE_TIMEOUT_S = 2.0, 1.5
# As the shipped document that restarts a service.
_DOCUMENT_S = 300
_OUTPUT_MAX = 24_000
# Readings of the processor's times, two seconds apart: when, and the ticks without work.
_READINGS = 6
_TIMES: deque[tuple[float, float]] = deque(maxlen=_READINGS)
# More memory than the service takes in good health, and less of the disk than it leaves.
_SERVICE_MAX_KB, _DISK_LEFT = 45_000, 0.1


def tell_facts() -> dict[str, Any]:
    """Boot id, uptime, use of the processor, and the command lines by process id."""
    processes = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                words = entry.joinpath("cmdline").read_bytes().split(b"\0")
                if words[0]:
                    processes[entry.name] = b" ".join(words).decode(errors="replace").strip()
    return {
        "faults": find_faults(processes),
        "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "cpu": tell_cpu(),
        "uptime_s": float(Path("/proc/uptime").read_text().split()[0]),
        "kernel": os.uname().release,
        "processes": processes,
    }


def find_faults(processes: dict[str, str]) -> list[str]:
    """The faults that the machine has now, by what it is, whatever caused them."""
    scripts = {words.split()[-1] for words in processes.values() if "/faults.py " in words}
    found = scripts - {"disk_full"}
    if "BROKEN" in os.environ:
        found.add("bad_deploy")
    with contextlib.suppress(OSError):
        service = Path("/proc", Path("/run/service.pid").read_text())
        status = dict(
            line.split(":", 1) for line in service.joinpath("status").read_text().splitlines()
        )
        if status["State"].split()[0] == "T":
            found.add("service_hang")
        if int(status["VmRSS"].split()[0]) > _SERVICE_MAX_KB:
            found.add("memory_leak")
    disk = os.statvfs("/data")
    if disk.f_bavail < _DISK_LEFT * disk.f_blocks:
        found.add("disk_full")
    if disk.f_flag & os.ST_RDONLY:
        found.add("read_only")
    return sorted(found)


def tell_cpu() -> float | None:
    """The share of the last ten seconds in which the processor was not idle."""
    if len(_TIMES) < _READINGS:
        return None
    (began, idle), (ended, still_idle) = _TIMES[0], _TIMES[-1]
    return 1 - (still_idle - idle) / os.sysconf("SC_CLK_TCK") / (ended - began)


def note_cpu() -> None:
    fields = Path("/proc/stat").read_text().split(maxsplit=6)
    _TIMES.append((time.monotonic(), float(fields[4])))


def run_script(name: str, arguments: list[str]) -> dict[str, Any]:
    """The exit code and the output of one of the machine's own scripts."""
    script = _FOLDER / f"{name}.py"
    command = [sys.executable, "-IS", str(script), *arguments]
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_DOCUMENT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"code": 124, "output": "the script did not end\n"}
    return {"code": done.returncode, "output": done.stdout.decode(errors="replace")[:_OUTPUT_MAX]}


def probe_for_ever() -> None:
    while True:
        note_cpu()
        try:
            with urllib.request.urlopen(_SERVICE, timeout=_PROBE_TIMEOUT_S) as answer:
                text = answer.read().decode() + "service_up 1\n"
        except OSError:
            text = "service_up 0\n"
        with contextlib.suppress(OSError):
            new = Path("/run/metrics/service.new")
            new.write_text(text)
            new.replace("/run/metrics/service.prom")
        time.sleep(_PROBE_S)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._send(tell_facts())

    def do_POST(self) -> None:
        """`/documents` or `/faults`, with a list of words as JSON."""
        words = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = self.path.strip("/")
        if name not in {"documents", "faults"}:
            self._send({"code": 127, "output": "no such script\n"})
            return
        self._send(run_script(name, [str(word) for word in words]))

    def log_message(self, *_: object) -> None:
        """The agent logs nothing."""

    def _send(self, answer: dict[str, Any]) -> None:
        raw = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    threading.Thread(target=probe_for_ever, daemon=True).start()
    ThreadingHTTPServer(("", 9000), Handler).serve_forever()


if __name__ == "__main__":
    main()
