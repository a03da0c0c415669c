"""The console: pages for people, over the very functions that the API calls."""

from fastapi import FastAPI

from receiver.console import (
    control,
    deeds,
    login,
    model_page,
    now,
    playbook_page,
    records,
    run_page,
)
from receiver.console.sessions import Sessions
from receiver.system import System
from receiver.tokens import Tokens


def install(app: FastAPI, system: System, tokens: Tokens) -> None:
    app.state.sessions = Sessions(database=system.database, tokens=tokens, clock=system.clock)
    app.state.logins = login.attempts()
    pages = (login, now, run_page, deeds, control, playbook_page, model_page, records)
    for router in (login.open_router, *(one.router for one in pages)):
        app.include_router(router)
