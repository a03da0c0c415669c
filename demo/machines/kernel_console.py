"""The management console of a user-mode kernel.

A datagram socket with requests of a magic number, a version, a length and the command's text:
https://docs.kernel.org/virt/uml/user_mode_linux_howto_v2.html#using-mconsole, and struct
mconsole_request in arch/um/drivers/mconsole.h.
"""

import socket
import struct
from contextlib import suppress
from pathlib import Path

_MAGIC, _VERSION, _DATA_MAX = 0xCAFEBABE, 2, 512
_REQUEST = struct.Struct(f"III{_DATA_MAX}s")
# An answer is as long as its text.
_REPLY = struct.Struct("III")
_ANSWER_S = 2.0


def tell(console: Path, command: str) -> str | None:
    """The answer to a command such as `cad`; None where the kernel does not answer."""
    own = console.with_name("caller")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.settimeout(_ANSWER_S)
        with suppress(FileNotFoundError):
            own.unlink()
        try:
            client.bind(str(own))
            raw = command.encode()
            client.sendto(_REQUEST.pack(_MAGIC, _VERSION, len(raw), raw), str(console))
            answer = b""
            more = 1
            while more:
                received = client.recv(_REQUEST.size)
                _, more, length = _REPLY.unpack_from(received)
                answer += received[_REPLY.size :][:length]
        except OSError:
            return None
        finally:
            with suppress(FileNotFoundError):
                own.unlink()
        return answer.rstrip(b"\0").decode(errors="replace")
