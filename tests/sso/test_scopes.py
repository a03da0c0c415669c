"""Route by role by what the role extends to, with a token and with a JWT: who may do what."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import pytest

from receiver.http.access import tokens
from receiver.http.access.callers import Role, Scope
from tests.api_fixtures import GROUP, HOSTS, Live
from tests.console.console_fixtures import Visitor
from tests.sso.issuer import Issuer
from tests.sso.sso_fixtures import live_with, log_in

_OTHER_PLAN = "f" * 64
# The groups of the provider, and tokens with the same roles.
_TOKENS: Mapping[str, tuple[Role, Scope]] = {
    "staff": (Role.VIEWER, Scope()),
    "sre": (Role.OPERATOR, Scope()),
    "sre-leads": (Role.ADMIN, Scope()),
    "web": (Role.OPERATOR, Scope(services=("web-*",))),
    "other": (Role.OPERATOR, Scope(services=("other-asg",))),
    "asking": (Role.OPERATOR, Scope(playbooks=("asking",))),
    "account": (Role.OPERATOR, Scope(accounts=("111122223333",))),
    "asking-leads": (Role.ADMIN, Scope(playbooks=("asking",))),
    "web-leads": (Role.ADMIN, Scope(services=("web-asg",))),
}
_LIMITED_TO_RUN = {"web", "asking", "asking-leads", "web-leads"}
_OPERATE_ALL, _ALL = {"sre", "sre-leads"}, {"staff", "sre", "sre-leads"}
_SEE_RUN, _ORDER_RUN = _ALL | _LIMITED_TO_RUN, _OPERATE_ALL | _LIMITED_TO_RUN
_WEB = _OPERATE_ALL | {"web", "web-leads"}
_ANYBODY = {*_TOKENS}
_DOORS = ("token", "sso")
_ENDS = (datetime.now(UTC) + timedelta(hours=1)).isoformat()


def _override(name: str, value: str) -> dict[str, Any]:
    matchers = [{"name": name, "value": value}]
    return {"matchers": matchers, "effect": "observe", "ends_at": _ENDS, "comment": "c"}


_PLAN = {"comment": "c", "plan": _OTHER_PLAN}
_COMMENT = {"comment": "c"}
_BY_HAND = {"playbook": "asking", "comment": "c", "dry_run": True}
_CHANGE = {"asg": GROUP, "comment": "c"}
# Each call on the run of the playbook `asking` in the group web-asg, and who may make it.
_TABLE: list[tuple[str, str, dict[str, Any] | None, set[str]]] = [
    ("GET", "/api/v1/runs/{run}", None, _SEE_RUN),
    ("POST", "/api/v1/runs/{run}/approve", _PLAN, _ORDER_RUN),
    ("POST", "/api/v1/runs/{run}/deny", _PLAN, _ORDER_RUN),
    ("POST", "/api/v1/runs/{run}/cancel", _PLAN, _ORDER_RUN),
    ("POST", "/api/v1/runs/{run}/rollback", _COMMENT, _ORDER_RUN),
    ("POST", "/api/v1/runs/{run}/mark", {"comment": "c", "right": True}, _ORDER_RUN),
    ("POST", "/api/v1/runs/{run}/acknowledge", _COMMENT, _ORDER_RUN),
    ("GET", "/api/v1/runs/{run}/captures/a-1-aws.json", None, _ORDER_RUN),
    ("POST", "/api/v1/runs", _BY_HAND | {"target": GROUP}, _ORDER_RUN),
    ("POST", "/api/v1/runs", _BY_HAND | {"target": HOSTS[1]}, _ORDER_RUN - {"web", "web-leads"}),
    ("POST", "/api/v1/runs", _BY_HAND | {"playbook": "acting", "target": GROUP}, _WEB),
    ("POST", "/api/v1/pause", _COMMENT | {"everything": "no"}, _OPERATE_ALL),
    ("POST", "/api/v1/resume", _COMMENT, _OPERATE_ALL),
    (
        "POST",
        "/api/v1/pause",
        _COMMENT | {"account": "111122223333"},
        _OPERATE_ALL | {"account"},
    ),
    ("POST", "/api/v1/changes", _CHANGE, _WEB),
    ("POST", "/api/v1/changes", _COMMENT, _OPERATE_ALL),
    ("POST", "/api/v1/overrides", _override("asg", GROUP), _WEB),
    ("POST", "/api/v1/overrides", _override("asg", "other-asg"), _OPERATE_ALL | {"other"}),
    ("POST", "/api/v1/overrides", _override("severity", "page"), _OPERATE_ALL),
    ("DELETE", "/api/v1/overrides/{override}", None, _WEB),
    ("DELETE", f"/api/v1/cooldowns/{HOSTS[5]}", None, _OPERATE_ALL),
    ("POST", "/api/v1/playbooks/asking/disarm", _COMMENT, {"sre-leads", "asking-leads"}),
    ("POST", "/api/v1/playbooks/acting/disarm", _COMMENT, {"sre-leads"}),
    (
        "POST",
        "/api/v1/playbooks/acting/disarm",
        _COMMENT | {"service": GROUP},
        {"sre-leads", "web-leads"},
    ),
    (
        "POST",
        "/api/v1/playbooks/asking/arm",
        _COMMENT | {"mode": "approve"},
        {"sre-leads", "asking-leads"},
    ),
    ("GET", "/api/v1/sns/subscriptions", None, {"sre-leads"}),
    ("POST", "/api/v1/sns/subscriptions/a/confirm", _COMMENT, {"sre-leads"}),
    ("DELETE", "/api/v1/people/nobody/sessions", None, {"sre-leads"}),
    ("GET", "/api/v1/audit", None, _ALL),
    ("GET", "/api/v1/audit?run={run}", None, _SEE_RUN),
    ("GET", "/api/v1/audit/verify", None, _ANYBODY),
    ("GET", "/api/v1/report", None, _ALL),
    ("GET", "/metrics/watch", None, _ALL),
    ("GET", "/api/v1/runs", None, _ANYBODY),
    ("GET", "/api/v1/overrides", None, _ANYBODY),
    ("GET", "/api/v1/cooldowns", None, _ANYBODY),
    ("GET", "/api/v1/debts", None, _ANYBODY),
    ("GET", "/api/v1/playbooks", None, _ANYBODY),
    ("GET", "/api/v1/model", None, _ANYBODY),
    ("GET", "/api/v1/sessions", None, _ANYBODY),
]
_PAGES = {
    "/runs/{run}": _SEE_RUN,
    "/runs/{run}/plots": _SEE_RUN,
    f"/groups/{GROUP}": _ALL | {"web", "web-leads"},
    "/groups/other-asg": _ALL | {"other"},
    "/playbooks/acting": _ANYBODY - {"asking", "asking-leads"},
    "/playbooks/asking": _ANYBODY,
    "/audit": _ALL,
    "/service": _ALL,
}


@dataclass(frozen=True, kw_only=True)
class _Shop:
    """A service with a waiting run; `secrets` by caller, for each door."""

    service: Live
    issuer: Issuer
    run: str
    secrets: Mapping[str, Mapping[str, str]]

    def path(self, path: str) -> str:
        return path.replace("{run}", self.run)

    def call(self, who: str, door: str, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self.secrets[door][who]}"}
        return self.service.call(method, self.path(path), headers=headers, json=body)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Shop]:
    issuer = Issuer()
    with live_with(tmp_path_factory.mktemp("scopes"), issuer) as service:
        file = service.folder / "tokens.json"
        by_token = {
            name: tokens.create(file, role, f"token-{name}", scope=scope)
            for name, (role, scope) in _TOKENS.items()
        }
        service.application.state.tokens.refresh()
        yield _Shop(
            service=service,
            issuer=issuer,
            run=service.asking(HOSTS[0])["id"],
            secrets={
                "token": by_token,
                "sso": {name: issuer.token(name, [name]) for name in _TOKENS},
            },
        )


@pytest.mark.parametrize("row", range(len(_TABLE)), ids=[" ".join(row[:2]) for row in _TABLE])
def test_who_may_call(shop: _Shop, row: int) -> None:
    """All others get 403, and change nothing. Each caller takes one door here, the other there."""
    method, path, body, may = _TABLE[row]
    for number, who in enumerate(_TOKENS):
        own = path.replace("{override}", shop.service.hold(GROUP)["id"]) if "{o" in path else path
        answer = shop.call(who, _DOORS[(row + number) % 2], method, own, body)
        forbidden = answer.status_code == HTTPStatus.FORBIDDEN
        assert forbidden == (who not in may), (who, answer.status_code, answer.text)
        assert answer.status_code != HTTPStatus.UNAUTHORIZED


def test_the_table_has_every_route(shop: _Shop) -> None:
    """But those for which the role webhook or a signature lets in, and open ones."""
    paths = shop.service.call("GET", "/openapi.json").json()["paths"]
    guarded = {
        (method.upper(), path.partition("{")[0])
        for path, methods in paths.items()
        for method, route in methods.items()
        if route.get("x-required-role") in {"viewer", "operator", "admin"}
    }
    shown = {(method, shop.path(path)) for method, path, *_ in _TABLE} - {("", "")}
    for method, start in guarded - {("DELETE", "/api/v1/sessions/")}:
        assert any(verb == method and path.startswith(start) for verb, path in shown), start


@pytest.mark.parametrize("door", ["token", "sso"])
def test_lists_have_what_the_role_extends_to(shop: _Shop, door: str) -> None:
    """The run, the override of its group, the playbooks."""
    for who in _TOKENS:
        listed = shop.call(who, door, "GET", "/api/v1/runs?playbook=asking").json()["items"]
        assert (shop.run in {run["id"] for run in listed}) == (who in _SEE_RUN), who
        names = {
            item["name"]
            for item in shop.call(who, door, "GET", "/api/v1/playbooks").json()["items"]
        }
        assert ("acting" in names) == (who not in {"asking", "asking-leads"}), who
        assert "asking" in names


def test_a_page_is_shown_to_whom_its_calls_are(shop: _Shop) -> None:
    """And Now, which tells of everything, leads to the list of runs."""
    for who in _TOKENS:
        visitor = Visitor(service=shop.service)
        with visitor.http:
            log_in(visitor, shop.issuer, f"visitor-{who}", who)
            assert visitor.page.url.path == ("/" if who in _ALL else "/runs"), who
            for path, may in _PAGES.items():
                status = visitor.get(shop.path(path)).status_code
                assert (status == HTTPStatus.FORBIDDEN) == (who not in may), (who, path, status)


def test_a_limited_admin_delivers_no_alerts(shop: _Shop) -> None:
    """They could be about anything."""
    for who in ("web-leads", "sre-leads"):
        answer = shop.call(who, "token", "POST", "/webhook/alertmanager", "no delivery")
        assert (answer.status_code == HTTPStatus.FORBIDDEN) == (who == "web-leads")


def test_several_roles_add_up(shop: _Shop) -> None:
    """A viewer of everything who is an operator of one service."""
    secret = shop.issuer.token("both", ["staff", "other"])
    headers = {"Authorization": f"Bearer {secret}"}
    run = shop.service.call("GET", f"/api/v1/runs/{shop.run}", headers=headers)
    assert run.status_code == HTTPStatus.OK
    path = f"/api/v1/runs/{shop.run}/acknowledge"
    refused = shop.service.call("POST", path, headers=headers, json=_COMMENT)
    assert refused.status_code == HTTPStatus.FORBIDDEN
    assert "does not extend" in refused.json()["detail"]
