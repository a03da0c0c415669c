"""The HTTP side: routes, roles, limits and errors around one `System`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI

from receiver import problems
from receiver.guarded import BodyLimit
from receiver.routes import control, health, overrides, records, runs, webhook
from receiver.system import System
from receiver.tokens import Tokens


class _Api(FastAPI):
    def openapi(self) -> dict[str, Any]:
        """The document, with the scheme that the routes' security names."""
        schema = super().openapi()
        schemes = schema.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes["bearer"] = {"type": "http", "scheme": "bearer"}
        return schema


def app(system: System, tokens: Tokens) -> FastAPI:
    """The application; the system starts and stops with it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # In a thread: the engine refuses to be started, and would block, on the event loop.
        await asyncio.to_thread(system.start)
        try:
            yield
        finally:
            await asyncio.to_thread(system.stop)

    made = _Api(
        title="SmartCloudOps",
        version=version("smartcloudops"),
        lifespan=lifespan,
        redoc_url=None,
    )
    made.state.system = system
    made.state.tokens = tokens
    made.add_middleware(BodyLimit)
    problems.install(made)
    for module in (webhook, runs, control, overrides, records, health):
        made.include_router(module.router)
    return made
