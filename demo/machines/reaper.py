"""Ends the sessions of this program's children when this program has ended, however it ended.

A user-mode kernel is several processes, and its helpers outlive a kernel that is killed; a kernel
that gets SIGTERM may not end while it is busy (both tried on 6.1). Run by its path, it reads lines
of `+PID` and `-PID`, and at the end of its input sends SIGKILL to every session that is left.
"""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Self


class Reaper:
    """A process that outlives this one just long enough. Use as a context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-IS", Path(__file__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        """Let it end what is left."""
        self._process.communicate()

    def watch(self, pid: int) -> None:
        self._tell(f"+{pid}")

    def forget(self, pid: int) -> None:
        """Its number may be another process' from now on."""
        self._tell(f"-{pid}")

    def _tell(self, line: str) -> None:
        if self._process.stdin is not None:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()


def main() -> None:
    sessions: set[int] = set()
    for line in sys.stdin:
        pid = int(line[1:])
        (sessions.add if line[0] == "+" else sessions.discard)(pid)
    for pid in sessions:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
