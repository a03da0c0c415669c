"""HAProxy before several receivers: on PATH, or unpacked from Debian's packages.

It runs deploy/haproxy.cfg; only the addresses differ.
"""

import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from demo.stack.debian import FOLDER, fetch_once, libraries, print_path, unpack
from demo.stack.processes import Processes, free_port

CONFIG = Path(__file__).parents[2] / "deploy/haproxy.cfg"
_HINT = "install HAProxy so that haproxy is on PATH"


def require(*, folder: Path = FOLDER) -> Sequence[str]:
    """The command that runs HAProxy, fetched if missing. Raises ToolsError."""
    if on_path := shutil.which("haproxy"):
        return (on_path,)
    root = folder / "haproxy"
    program = root / "usr/sbin/haproxy"
    fetch_once(program.is_file, lambda _: unpack(("haproxy",), root, hint=_HINT), folder)
    paths = ":".join(libraries(root))
    return (*(("env", f"LD_LIBRARY_PATH={paths}") if paths else ()), str(program))


def start(processes: Processes, *, folder: Path, receivers: Sequence[str]) -> str:
    """Start HAProxy; receivers may start later. Returns its URL.

    Raises ProcessError, ToolsError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "haproxy.cfg"

    def command(port: int) -> Sequence[str]:
        config.write_text(_config(receivers, port))
        return (*require(), "-db", "-f", str(config))

    _, url = processes.start_on_port("proxy", command, ready="/proxy")
    return url


def _config(receivers: Sequence[str], port: int) -> str:
    """The shipped configuration, with loopback addresses in place of host names."""
    servers = "\n".join(
        f"  server receiver-{number} {urlsplit(url).netloc}"
        for number, url in enumerate(receivers, start=1)
    )
    text = re.sub(r"(?m)^  server-template .*$", servers, CONFIG.read_text())
    text = text.replace("127.0.0.1:8081", f"127.0.0.1:{free_port()}")
    return text.replace("bind :8080", f"bind 127.0.0.1:{port}")


if __name__ == "__main__":
    sys.exit(print_path("proxy", "haproxy", lambda: Path(require()[-1])))
