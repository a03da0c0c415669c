"""A client of the console that keeps cookies and submits the forms of its pages."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import unescape
from typing import Any

import httpx
from sqlalchemy import update

from receiver.db.tables import runs
from receiver.evidence.plot_data import plot_series
from receiver.http.access.callers import Role
from tests.api_fixtures import Live
from tests.models.fleet_fixtures import CPU, RUNAWAY, evidence, judge


def plot_data() -> list[dict[str, Any]]:
    """The plot data of an instance with a runaway process."""
    seen = evidence(now=RUNAWAY)
    return plot_series(seen, judge(seen, CPU), CPU)


def store_plot_data(service: Live, run_id: str) -> None:
    """As if the run had been decided on these metrics."""
    stored = {
        "at": service.system.clock(),
        "recent": {},
        "peers": [],
        "problems": [],
        "sketches": plot_data(),
    }
    with service.system.database.write() as connection:
        this_run = update(runs).where(runs.c.id == run_id)
        connection.execute(this_run.values(evidence=stored))


@dataclass(kw_only=True)
class Visitor:
    """A person at the console; `page` is the latest response."""

    service: Live
    http: httpx.Client = field(init=False)
    page: httpx.Response = field(init=False)

    def __post_init__(self) -> None:
        self.http = httpx.Client(
            base_url=self.service.url, trust_env=False, timeout=60, follow_redirects=True
        )

    def log_in(self, token: Role | str, then: str = "/") -> httpx.Response:
        secret = self.service.tokens[token] if isinstance(token, Role) else token
        self.get(f"/login?next={then}")
        return self.submit("/login", token=secret, next=then)

    def get(self, path: str, **headers: str) -> httpx.Response:
        self.page = self.http.get(path, headers=headers)
        return self.page

    def submit(self, path: str, **fields: str) -> httpx.Response:
        """Submit a form with the CSRF token of the current page."""
        return self.post(path, {"csrf": self.csrf(), **fields})

    def post(self, path: str, fields: Mapping[str, str]) -> httpx.Response:
        self.page = self.http.post(path, data=dict(fields))
        return self.page

    def csrf(self) -> str:
        return self._hidden("csrf")

    def digest(self) -> str:
        return self._hidden("digest")

    def _hidden(self, name: str) -> str:
        field = re.search(rf'name="{name}" value="([^"]*)"', self.page.text)
        assert field, f"no {name} on {self.page.url}: {self.page.status_code}"
        return unescape(field[1])
