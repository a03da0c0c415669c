"""Redirects a path with a trailing slash to the path without it, on the client's host."""

from collections.abc import Sequence
from http import HTTPStatus

from starlette.responses import RedirectResponse
from starlette.routing import BaseRoute, Match, Router
from starlette.types import Receive, Scope, Send


class SlashRedirect:
    """The router's default for a path without a route. Its location has no host."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = str(scope["path"]).rstrip("/")
        # Two slashes at the start would name a host to a browser.
        local = path.startswith("/") and not path.startswith(("//", "/\\"))
        if (
            scope["type"] == "http"
            and local
            and path != scope["path"]
            and self._exists(scope, path)
        ):
            query = scope["query_string"].decode("latin-1")
            target = f"{path}?{query}" if query else path
            answer = RedirectResponse(target, HTTPStatus.TEMPORARY_REDIRECT)
            await answer(scope, receive, send)
        else:
            await self._router.not_found(scope, receive, send)

    def _exists(self, scope: Scope, path: str) -> bool:
        routes: Sequence[BaseRoute] = self._router.routes
        wanted = {**scope, "path": path}
        return any(route.matches(wanted)[0] is not Match.NONE for route in routes)
