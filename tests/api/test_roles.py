"""Every route, without a token, with a wrong one, and with each role: what must happen."""

from collections.abc import Iterator
from http import HTTPStatus

import pytest

from receiver.http.access.callers import Role
from tests.api_fixtures import Live, live

_NOBODY = "0" * 26
# Who may: this role, and those that include it.
_TABLE = {
    ("POST", "/webhook/alertmanager"): "webhook",
    ("POST", "/webhook/grafana"): "webhook",
    ("POST", "/webhook/sns"): "signature",
    ("GET", "/api/v1/runs"): "viewer",
    ("POST", "/api/v1/runs"): "operator",
    ("GET", "/api/v1/runs/{run_id}"): "viewer",
    ("POST", "/api/v1/runs/{run_id}/approve"): "operator",
    ("POST", "/api/v1/runs/{run_id}/deny"): "operator",
    ("POST", "/api/v1/runs/{run_id}/cancel"): "operator",
    ("POST", "/api/v1/runs/{run_id}/rollback"): "operator",
    ("POST", "/api/v1/runs/{run_id}/mark"): "operator",
    ("POST", "/api/v1/runs/{run_id}/acknowledge"): "operator",
    ("GET", "/api/v1/runs/{run_id}/captures/{name}"): "operator",
    ("POST", "/api/v1/pause"): "operator",
    ("POST", "/api/v1/resume"): "operator",
    ("POST", "/api/v1/changes"): "operator",
    ("GET", "/api/v1/overrides"): "viewer",
    ("POST", "/api/v1/overrides"): "operator",
    ("DELETE", "/api/v1/overrides/{override_id}"): "operator",
    ("GET", "/api/v1/cooldowns"): "viewer",
    ("DELETE", "/api/v1/cooldowns/{target}"): "operator",
    ("GET", "/api/v1/debts"): "viewer",
    ("GET", "/api/v1/playbooks"): "viewer",
    ("POST", "/api/v1/playbooks/{name}/arm"): "admin",
    ("POST", "/api/v1/playbooks/{name}/disarm"): "admin",
    ("GET", "/api/v1/sns/subscriptions"): "admin",
    ("POST", "/api/v1/sns/subscriptions/{subscription_id}/confirm"): "admin",
    ("GET", "/api/v1/sessions"): "viewer",
    ("DELETE", "/api/v1/sessions/{session_id}"): "viewer",
    ("DELETE", "/api/v1/people/{person}/sessions"): "admin",
    ("GET", "/api/v1/model"): "viewer",
    ("GET", "/api/v1/audit"): "viewer",
    ("GET", "/api/v1/audit/verify"): "viewer",
    ("GET", "/api/v1/report"): "viewer",
    ("POST", "/chat/slack/commands"): "signature",
    ("POST", "/chat/slack/actions"): "signature",
    ("POST", "/chat/webhook"): "signature",
    ("GET", "/healthz"): "none",
    ("GET", "/readyz"): "none",
    ("GET", "/metrics"): "none",
    ("GET", "/metrics/watch"): "viewer",
}
# By signature alone; where the chat is switched off, as here, nobody is let in.
_OFF = HTTPStatus.NOT_FOUND
_MAY = {
    "none": {*Role},
    "webhook": {Role.WEBHOOK, Role.ADMIN},
    "viewer": {Role.VIEWER, Role.OPERATOR, Role.ADMIN},
    "operator": {Role.OPERATOR, Role.ADMIN},
    "admin": {Role.ADMIN},
}
_TURNED_AWAY = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("roles")) as service:
        yield service


def test_the_table_has_every_route(service: Live) -> None:
    """And no other."""
    paths = service.call("GET", "/openapi.json").json()["paths"]
    assert _TABLE.keys() == {(m.upper(), path) for path, methods in paths.items() for m in methods}


@pytest.mark.parametrize(
    ("method", "path"), list(_TABLE), ids=[" ".join(route) for route in _TABLE]
)
def test_a_route_lets_in_whom_the_table_says(service: Live, method: str, path: str) -> None:
    """Whatever the body is: it is read only after that."""
    needed = _TABLE[method, path]
    for name in (
        *("run_id", "override_id", "subscription_id", "target", "name"),
        *("session_id", "person"),
    ):
        path = path.replace(f"{{{name}}}", _NOBODY)
    broken = b"{ this is no JSON" if method == "POST" else None
    for wrong in ("", "Bearer", "Bearer wrong", "Bearer ~~~", "Basic d3Jvbmc6d3Jvbmc=", "Basic ?"):
        headers = {"Authorization": wrong} if wrong else {}
        answer = service.call(method, path, headers=headers, content=broken)
        if needed == "signature":
            assert answer.status_code == _OFF
            continue
        if needed == "none":
            assert answer.status_code == HTTPStatus.OK
            continue
        assert answer.status_code == HTTPStatus.UNAUTHORIZED, wrong
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"].startswith("Bearer")
    for role in Role:
        answer = service.call(method, path, role, content=broken)
        if needed == "signature":
            assert answer.status_code == _OFF
        elif role in _MAY[needed]:
            assert answer.status_code not in _TURNED_AWAY, role
        else:
            assert answer.status_code == HTTPStatus.FORBIDDEN, role
            assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("user", "role", "status"),
    [
        ("webhook", Role.WEBHOOK, HTTPStatus.BAD_REQUEST),
        ("admin", Role.ADMIN, HTTPStatus.BAD_REQUEST),
        ("viewer", Role.VIEWER, HTTPStatus.FORBIDDEN),
        ("somebody", Role.WEBHOOK, HTTPStatus.UNAUTHORIZED),
    ],
)
def test_the_webhook_takes_basic_authentication(
    service: Live, user: str, role: Role, status: HTTPStatus
) -> None:
    """As Alertmanager's http_config.basic_auth sends it: the token and its own name."""
    auth = (user, service.tokens[role])
    answer = service.call("POST", "/webhook/alertmanager", auth=auth, content=b"no JSON")
    assert answer.status_code == status


def test_nothing_else_takes_basic_authentication(service: Live) -> None:
    """A browser would send it along with what another site makes it ask for."""
    auth = ("admin", service.tokens[Role.ADMIN])
    answer = service.call("GET", "/api/v1/runs", auth=auth)
    assert answer.status_code == HTTPStatus.UNAUTHORIZED
