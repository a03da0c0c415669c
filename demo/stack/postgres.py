"""A temporary PostgreSQL server in its own folder."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from demo.stack.debian import FOLDER, ToolsError, fetch_once, libraries, print_path, unpack
from demo.stack.processes import Child, Processes, free_port

_TIMEOUT_S = 60
_HINT = "install PostgreSQL so that initdb is on PATH"
# PostgreSQL refuses to run as root.
_INSTEAD_OF_ROOT = "nobody"
_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
}


class PostgresError(Exception):
    """The server did not start; the message has the cause."""


@dataclass(kw_only=True)
class Postgres:
    """A server; `url` is the database URL for the service, and restarts keep the port."""

    folder: Path
    processes: Processes
    port: int = field(default_factory=free_port)
    child: Child | None = None

    @property
    def url(self) -> str:
        return f"postgresql://app@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        settings = [f"-c{name}={value}" for name, value in _OPTIONS.items()]
        command = [*_program("postgres"), "-D", str(self.folder), "-p", str(self.port), *settings]
        self.child = self.processes.start("postgres", [*_unprivileged(), *command])
        until = time.monotonic() + _TIMEOUT_S
        while not self._ready():
            if not self.child.alive() or time.monotonic() > until:
                raise PostgresError(str(self.child.failure("did not start")))
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill all processes of the server at once, like a power failure."""
        if self.child is not None:
            self.child.kill()
            self.child = None

    def create(self, name: str) -> str:
        """Create an empty database on this server. Returns its URL."""
        command = [*_program("psql"), "-qc", f"create database {name}", self.url]
        subprocess.run(command, check=True, timeout=_TIMEOUT_S)
        return f"{self.url.removesuffix('/postgres')}/{name}"

    def _ready(self) -> bool:
        command = [*_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False, timeout=_TIMEOUT_S).returncode == 0


@contextmanager
def running(processes: Processes) -> Iterator[Postgres]:
    """Run a server inside the block. Raises PostgresError, ToolsError."""
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch) / "data"
        folder.mkdir(mode=0o700)
        _give_to_postgres_user(Path(scratch), folder)
        command = [*_program("initdb"), "-D", str(folder), "-U", "app", "-A", "trust", "-N"]
        initdb = subprocess.run(
            [*_unprivileged(), *command],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        if initdb.returncode:
            raise PostgresError(f"initdb failed: {(initdb.stderr.splitlines() or ['?'])[-1]}")
        server = Postgres(folder=folder, processes=processes)
        server.start()
        try:
            yield server
        finally:
            # Killed: the data is temporary, and an orderly stop would wait for clients.
            server.kill()


def require(*, folder: Path = FOLDER) -> Path:
    """The folder of PostgreSQL's programs, fetched if missing. Raises ToolsError."""
    fetch_once(lambda: _programs(folder), _fetch, folder)
    if programs := _programs(folder):
        return programs
    raise ToolsError(f"PostgreSQL is missing: {_HINT}")


def _fetch(folder: Path) -> None:
    unpack(("postgresql",), folder / "postgresql", hint=_HINT)


def _programs(folder: Path) -> Path | None:
    """PostgreSQL's program folder: from PATH, or the newest of Debian's, installed or unpacked."""
    if on_path := shutil.which("initdb"):
        return Path(on_path).resolve().parent
    kept = [
        *Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        *(folder / "postgresql/usr/lib/postgresql").glob("*/bin/initdb"),
    ]
    return max(kept, key=lambda path: int(path.parts[-3])).parent if kept else None


def _program(name: str, folder: Path = FOLDER) -> list[str]:
    """The command that runs a program of the server, not as root."""
    programs = require(folder=folder)
    if folder not in programs.parents:
        return [str(programs / name)]
    paths = ":".join(libraries(folder / "postgresql"))
    return [*(["env", f"LD_LIBRARY_PATH={paths}"] if paths else []), str(programs / name)]


def _unprivileged() -> list[str]:
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise PostgresError("PostgreSQL refuses to run as root, and setpriv is missing")
    user = pwd.getpwnam(_INSTEAD_OF_ROOT)
    # The change of user cancels the kernel's parent-death signal: request it again.
    tie = ("--pdeathsig", "KILL")
    return [setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", *tie]


def _give_to_postgres_user(*folders: Path) -> None:
    if os.geteuid() == 0:
        for folder in folders:
            shutil.chown(folder, _INSTEAD_OF_ROOT)


if __name__ == "__main__":
    sys.exit(print_path("database", "postgresql", require))
