"""The web console: pages that call the functions of the API."""

from fastapi import FastAPI

from receiver.api.parts import Parts
from receiver.console import (
    audit_page,
    controls_page,
    error_pages,
    group_page,
    login,
    model_page,
    playbook_page,
    session_page,
    sso_login,
)
from receiver.console.home import page as home_page
from receiver.console.home.overview import Overview
from receiver.console.runs import list_page, run_actions, run_page


def install(app: FastAPI, parts: Parts) -> None:
    error_pages.install(app)
    app.state.overview = Overview(parts=parts)
    app.state.group_reads = group_page.GroupReads()
    app.state.login_rate = login.login_rate()
    pages = (
        login,
        home_page,
        list_page,
        run_page,
        run_actions,
        controls_page,
        group_page,
        playbook_page,
        model_page,
        audit_page,
        session_page,
    )
    for router in (login.open_router, sso_login.router, *(page.router for page in pages)):
        app.include_router(router)
