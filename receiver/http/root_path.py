"""The path below which a proxy serves the service, and the paths of webhooks."""

import re
from dataclasses import dataclass

from starlette.types import Message, Scope, Send

_SLASHES = re.compile("/+")
_WEBHOOKS = "/webhook/"
# Headers whose value is a path of this service, if it begins with a slash.
_LOCATIONS = frozenset({b"location", b"hx-redirect"})


@dataclass(frozen=True)
class RootPath:
    """The `prefix` ("/ops", or empty) of all paths as clients see them.

    A proxy may strip it from a request, or keep it.
    """

    prefix: str = ""

    def of_request(self, scope: Scope) -> Scope:
        """The request with its path as the routes have it.

        A webhook's path is taken with a slash too many: its sender gives up at a redirect.
        """
        path = str(scope["path"])
        if self.prefix and path.startswith(f"{self.prefix}/"):
            path = path.removeprefix(self.prefix)
        if scope["method"] == "POST" and _WEBHOOKS in f"{path}/":
            path = _SLASHES.sub("/", path).rstrip("/")
        return scope if path == scope["path"] else {**scope, "path": path}

    def of_answers(self, send: Send) -> Send:
        """A `send` that adds the prefix to the paths to which answers redirect."""
        if not self.prefix:
            return send

        async def prefixed(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    (name, self._located(name, value)) for name, value in message["headers"]
                ]
            await send(message)

        return prefixed

    def _located(self, name: bytes, value: bytes) -> bytes:
        local = name in _LOCATIONS and value.startswith(b"/")
        return self.prefix.encode() + value if local else value
