"""Child processes on loopback that end with this process, even if it is killed."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar, cast

import httpx

from demo.stack.parent_death import end_with_parent

_PARENT_DEATH = Path(__file__).with_name("parent_death.py")
# The ports are below the kernel's range for outgoing connections, which could take a port between
# the check and the bind. They are random, so that two environments rarely conflict.
_PORTS = range(20_000, 32_000)
_given: set[int] = set()
_giving = threading.Lock()
_POLL_S = 0.05
_LOG_LINES_SHOWN = 10

_Value = TypeVar("_Value")


class ProcessError(Exception):
    """A process did not become ready or ended; the message carries the end of its log."""


@dataclass(kw_only=True)
class Child:
    """A process with its output in `log`; `wanted` is true until this program stops the process."""

    name: str
    command: Sequence[str | Path]
    log: Path
    popen: subprocess.Popen[bytes]
    wanted: bool = True

    @property
    def pid(self) -> int:
        return self.popen.pid

    def alive(self) -> bool:
        return self.popen.poll() is None

    def kill(self) -> None:
        """Send SIGKILL, and wait until the process has ended."""
        self.wanted = False
        self.popen.kill()
        self.popen.wait()

    def stop(self, *, grace_s: float = 5) -> None:
        """Send SIGTERM, and after `grace_s` SIGKILL."""
        self.wanted = False
        self.popen.terminate()
        try:
            self.popen.wait(grace_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def failure(self, what: str) -> ProcessError:
        """An error with `what` happened and the end of the log."""
        lines = self.log.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:]
        return ProcessError("\n  ".join((f"{self.name} {what}; {self.log} ends with:", *lines)))


class Processes:
    """The processes of one environment, stopped in the reverse order of their start.

    Use from the main thread, as a context manager. Logs go to `<folder>/<name>.log`, overwritten
    by each start of that name.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(
        self, name: str, command: Sequence[str | Path], *, env: Mapping[str, str] | None = None
    ) -> Child:
        """Start a program. `env` is the whole environment; None is this process's own."""
        if threading.current_thread() is not threading.main_thread():
            # See `end_with_parent`.
            raise RuntimeError(
                "start processes from the main thread: the kernel ends a child with its thread"
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        log = self._folder / f"{name}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                bound_to_this_process(command),
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for this process, which then stops the others in order.
                start_new_session=True,
            )
        child = Child(name=name, command=command, log=log, popen=popen)
        self._children.append(child)
        return child

    def start_on_port(
        self,
        name: str,
        command: Callable[[int], Sequence[str | Path]],
        *,
        ready: str,
        timeout_s: float = 30,
        env: Mapping[str, str] | None = None,
    ) -> tuple[Child, str]:
        """Start a server on a free port and wait until `ready`, a path, answers 200.

        Returns it and its URL. Tries another port if the port was taken in the meantime. Raises
        ProcessError.
        """
        for last_try in (False, False, True):
            port = free_port()
            url = f"http://127.0.0.1:{port}"
            child = self.start(name, command(port), env=env)
            try:
                wait_ready(child, url + ready, timeout_s=timeout_s)
            except ProcessError as error:
                child.stop()
                if last_try or "address already in use" not in str(error).lower():
                    raise
            else:
                return child, url
        raise AssertionError("the last try returns or raises")

    def run(self, name: str, command: Sequence[str | Path], *, timeout_s: float) -> None:
        """Run a program to its end. Raises ProcessError if it fails or takes over `timeout_s`."""
        child = self.start(name, command)
        try:
            code = child.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise child.failure(f"did not end within {timeout_s:.0f} s") from None
        finally:
            child.stop()
        if code:
            raise child.failure(f"ended with code {code}")

    def check(self) -> None:
        """Raise ProcessError if a process has ended without being stopped."""
        for child in self._children:
            if child.wanted and not child.alive():
                raise child.failure(f"has ended with code {child.popen.returncode}")

    def stop(self) -> None:
        """Stop all processes, the last started first."""
        while self._children:
            self._children.pop().stop()


def bound_to_this_process(command: Sequence[str | Path]) -> list[str | Path]:
    """The command, started such that the kernel kills it when this process ends."""
    return [sys.executable, "-IS", _PARENT_DEATH, str(os.getpid()), *command]


def without_aws() -> dict[str, str]:
    """The environment without the caller's AWS credentials, which no child may use."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def free_port() -> int:
    """A port of 127.0.0.1 on which no server listens, and that this process was not given yet."""
    while True:
        port = secrets.choice(_PORTS)
        with _giving, socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            if port not in _given:
                _given.add(port)
                return port


def wait_ready(child: Child, url: str, *, timeout_s: float = 30) -> None:
    """Wait until `url` answers 200. Raises ProcessError, at once if the process ends."""
    with httpx.Client(trust_env=False, timeout=2) as http:

        def answers() -> bool | None:
            try:
                return http.get(url).status_code == httpx.codes.OK or None
            except httpx.TransportError:
                return None

        _wait(child, answers, timeout_s=timeout_s)


def wait_announced(child: Child, *, timeout_s: float = 60) -> dict[str, Any]:
    """Wait for the first JSON object that a process writes on a line, and return it.

    Raises ProcessError as `wait_ready`.
    """
    return _wait(child, lambda: _announced(child.log), timeout_s=timeout_s)


def _announced(log: Path) -> dict[str, Any] | None:
    # The text after the last newline is incomplete.
    for line in log.read_text(errors="replace").split("\n")[:-1]:
        if line.startswith("{"):
            with suppress(json.JSONDecodeError):
                return cast("dict[str, Any]", json.loads(line))
    return None


def _wait(child: Child, read: Callable[[], _Value | None], *, timeout_s: float) -> _Value:
    until = time.monotonic() + timeout_s
    while True:
        value = read()
        # Checked after the answer, which another server may have given if it took the port first.
        if not child.alive():
            raise child.failure(f"ended with code {child.popen.returncode} before it was ready")
        if value is not None:
            return value
        if time.monotonic() > until:
            raise child.failure(f"was not ready within {timeout_s:.0f} s")
        time.sleep(_POLL_S)


def end_with_make() -> None:
    """Ask for SIGTERM when this process' parent ends, even by a kill."""
    end_with_parent(os.getppid(), signal.SIGTERM)
