"""The service below a path, its webhook with a slash too many, and offers of another protocol."""

import json
import re
import socket
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from receiver.http.access.callers import Role
from receiver.settings import SettingsError
from receiver.settings import load as load_settings
from tests.api_fixtures import Live, live
from tests.console.console_fixtures import Visitor

_DELIVERY = {"version": "4", "alerts": [{"status": "firing", "labels": {"alertname": "A"}}]}
_WEBHOOK = "/webhook/alertmanager"
_PAGES = ("/", "/runs", "/controls", "/playbooks", "/model", "/audit", "/nothing")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("root"), root_path="/tools/ops/") as service:
        yield service


@pytest.mark.parametrize(
    "path",
    [
        _WEBHOOK,
        f"{_WEBHOOK}/",
        f"/{_WEBHOOK}",
        "/webhook//alertmanager",
        f"/tools/ops{_WEBHOOK}",
        f"/tools/ops/{_WEBHOOK}//",
    ],
)
def test_a_slash_too_many_costs_no_alert(service: Live, path: str) -> None:
    """Alertmanager gives up at a redirect and at a 404; a proxy strips the path, or keeps it."""
    url = httpx.URL(service.url).copy_with(raw_path=path.encode())
    headers = {"Authorization": f"Bearer {service.tokens[Role.WEBHOOK]}"}
    answer = service.http.post(url, json=_DELIVERY, headers=headers)
    assert answer.status_code == HTTPStatus.OK, answer.text


def test_other_paths_stay_as_they_are(service: Live) -> None:
    """No other prefix is taken away, and no role is passed by."""
    for path, status in (
        (f"/other{_WEBHOOK}", HTTPStatus.NOT_FOUND),
        (f"/tools/opsx{_WEBHOOK}", HTTPStatus.NOT_FOUND),
        (f"/tools/ops{_WEBHOOK}/x", HTTPStatus.NOT_FOUND),
    ):
        assert service.call("POST", path, Role.WEBHOOK, json=_DELIVERY).status_code == status
    refused = service.call("POST", f"{_WEBHOOK}/", Role.VIEWER, json=_DELIVERY)
    assert refused.status_code == HTTPStatus.FORBIDDEN


def test_every_link_of_the_console_has_the_path(service: Live) -> None:
    """Links, forms, polls, files and redirects, behind a proxy that strips the path."""
    visitor = Visitor(service=service)
    visitor.http.follow_redirects = False
    service.start("asking", "i-00000000000000000")
    with visitor.http:
        assert visitor.get("/runs").headers["location"] == "/tools/ops/login?next=/runs"
        assert visitor.log_in(Role.OPERATOR).headers["location"] == "/tools/ops/"
        for path in _PAGES:
            page = visitor.get(path).text
            links = re.findall(r'(?:href|action|src|hx-get)="(/[^"]*)"', page)
            assert all(link.startswith("/tools/ops/") for link in links), (path, links)
            assert links or path == "/nothing"
        kept = [link for link in links if "/assets/" in link]
        assert all(visitor.get(link).status_code == HTTPStatus.OK for link in kept)
        visitor.http.cookies.clear()
        polled = visitor.get("/banner", **{"hx-request": "true"})
    assert polled.headers["hx-redirect"] == "/tools/ops/login?next=/banner"
    document = service.call("GET", "/tools/ops/openapi.json").json()
    assert document["servers"] == [{"url": "/tools/ops"}]


@pytest.mark.parametrize("path", ["ops", "/", "/ops/?x", "//ops", "/ops//x", "/o ps"])
def test_a_path_that_is_none_is_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By name."""
    monkeypatch.setenv("SMARTCLOUDOPS_ROOT_PATH", path)
    with pytest.raises(SettingsError, match="SMARTCLOUDOPS_ROOT_PATH"):
        load_settings()


def test_an_offer_of_http_2_is_left_and_the_delivery_taken(tmp_path: Path) -> None:
    """Java's client offers it with each request on a connection without TLS."""
    with live(tmp_path) as service:
        body = json.dumps(_DELIVERY)
        request = "\r\n".join(
            [
                f"POST {_WEBHOOK} HTTP/1.1",
                "Host: service",
                "Connection: Upgrade, HTTP2-Settings",
                "Upgrade: h2c",
                "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
                f"Authorization: Bearer {service.tokens[Role.WEBHOOK]}",
                f"Content-Length: {len(body)}",
                "",
                body,
            ]
        )
        url = httpx.URL(service.url)
        with socket.create_connection((url.host, url.port or 80), timeout=10) as connection:
            for _ in range(2):
                connection.sendall(request.encode())
                assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
