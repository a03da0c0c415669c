"""Ends a process when its parent ends, so that no crash leaves a process running.

Run by its path, before any other import, it becomes another program:
`python -IS parent_death.py PARENT_PID PROGRAM ARGUMENTS…`. It is a separate program, because a
`preexec_fn` may deadlock in a process that has threads.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_parent(parent: int, number: signal.Signals) -> None:
    """Ask the kernel to send this process a signal when process `parent`, its parent, ends.

    The kernel sends it when the *thread* that started this process ends: start children from a
    thread that lasts. Ends this process at once if the parent has already ended. Linux only;
    elsewhere a killed parent leaves its children running.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    # The parent may have ended between the start and the request.
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]), signal.SIGKILL)
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 the purpose of this module
