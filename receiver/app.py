"""The HTTP application: routes, roles, limits and errors of one service."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from receiver import console
from receiver.api import (
    arming,
    audit,
    changes,
    control,
    cooldowns,
    debts,
    health,
    model,
    overrides,
    reports,
    runs,
    sessions,
    sns,
)
from receiver.chat import endpoint as chat_routes
from receiver.chat.wiring import Chat
from receiver.http import problems
from receiver.http.access.break_glass import BreakGlass
from receiver.http.access.sessions import Sessions
from receiver.http.access.tokens import Tokens
from receiver.http.middleware import RequestMiddleware
from receiver.http.problems import Problem
from receiver.http.redirects import SlashRedirect
from receiver.http.root_path import RootPath
from receiver.service import Service
from receiver.sso.sign_on import SignOn
from receiver.webhook import routes as webhook
from receiver.webhook.endpoint import Deliveries

_ABOUT = """
Alertmanager, Grafana or Amazon SNS delivers alerts at a webhook, and each becomes a run. People
read runs, approve or deny their plans, and set the controls.

Every call requires `Authorization: Bearer TOKEN`, except signed calls, and health. The
required role is `x-required-role`: `viewer` < `operator` < `admin`; `webhook` may only deliver
alerts. A changing call takes a comment, which is audited with the caller's name, address and time.
Errors are RFC 9457 problem details; each response carries an `X-Request-ID`. Times are RFC 3339 in
UTC. A list is `{"items": [...], "next_cursor": ...}`; `cursor=` selects the next page.
"""
_TAGS = [
    {"name": "webhook", "description": "Deliveries of alerts."},
    {"name": "runs", "description": "The runs of alerts, and people's commands on them."},
    {"name": "control", "description": "The kill switch, the cooldowns, the playbooks."},
    {"name": "changes", "description": "Deploys and other changes, beside incidents."},
    {"name": "overrides", "description": "Alerts that are held, or only observed, for a period."},
    {"name": "sessions", "description": "Who is logged in."},
    {"name": "model", "description": "The model that confirms or refutes alerts."},
    {"name": "audit", "description": "The chain of audit records, and the report."},
    {"name": "chat", "description": "Commands from a chat, which signs them."},
    {"name": "health", "description": "Health and metrics."},
]
_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "smartcloudops token create, or a JWT of the identity provider",
    },
    "signature": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Slack-Signature",
        "description": "v0= and the HMAC-SHA256 of v0:TIMESTAMP:BODY",
    },
    "basic": {"type": "http", "scheme": "basic", "description": "a token's name, and the token"},
}


class Api(FastAPI):
    """The application. `deliveries` answer the webhooks before the middlewares and the routes."""

    deliveries: Mapping[str, Deliveries]
    root: RootPath

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        scope = self.root.of_request(scope)
        deliveries = self.deliveries.get(scope["path"])
        if deliveries is not None and scope["method"] == "POST":
            await deliveries(scope, receive, send)
        else:
            await super().__call__(scope, receive, self.root.of_answers(send))

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, with the schemas to which routes refer by name."""
        schema = super().openapi()
        components = schema.setdefault("components", {})
        components.setdefault("securitySchemes", {}).update(_SCHEMES)
        components.setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
        if self.root.prefix:
            schema["servers"] = [{"url": self.root.prefix}]
        return schema


def app(
    service: Service, tokens: Tokens, chat: Chat | None = None, sso: SignOn | None = None
) -> Api:
    """Build the application, which starts and stops the service."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # In a thread, because DBOS refuses to start on an event loop, and would block it.
        await asyncio.to_thread(service.start)
        try:
            yield
        finally:
            await asyncio.to_thread(service.stop)

    api = Api(
        title="SmartCloudOps",
        version=version("smartcloudops"),
        description=_ABOUT,
        openapi_tags=_TAGS,
        lifespan=lifespan,
        # Off: these pages load scripts from other sites onto the console's origin.
        docs_url=None,
        redoc_url=None,
        # Starlette's own redirect repeats the Host header, which the client chooses.
        redirect_slashes=False,
    )
    api.router.default = SlashRedirect(api.router)
    api.state.parts = service
    api.state.tokens = tokens
    service.metrics.http.watch(tokens)
    api.state.chat = chat
    api.state.sso = sso
    api.state.break_glass = BreakGlass(database=service.database, clock=service.clock)
    api.state.sessions = Sessions(
        database=service.database,
        tokens=tokens,
        clock=service.clock,
        grants_of=sso.roles.grants_of if sso else None,
    )
    settings = service.settings
    api.root = RootPath(settings.root_path)
    api.deliveries = service.intake.deliveries(tokens)
    api.add_middleware(RequestMiddleware, per_s=settings.rate_limit)
    problems.install(api)
    modules = (
        webhook,
        runs,
        control,
        cooldowns,
        debts,
        arming,
        changes,
        overrides,
        audit,
        reports,
        sessions,
        sns,
        model,
        chat_routes,
        health,
    )
    for module in modules:
        api.include_router(module.router)
    console.install(api, service)
    return api
