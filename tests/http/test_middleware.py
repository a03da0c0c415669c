"""What each request passes first: limits that lose nothing, and TLS where it is wanted."""

import resource
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from demo.stack.processes import Processes
from receiver.http import server as serving
from receiver.http.access import tokens
from receiver.http.access.callers import Role
from receiver.http.access.rate_limit import RateLimiter, client_of
from receiver.http.server import TlsError
from receiver.settings import Settings, SettingsError
from receiver.settings import load as load_settings
from tests.api_fixtures import Live, live
from tests.conftest import Clock
from tests.end_to_end.service_process import settings
from tests.http.pki import Pki, make_pki


def test_a_bucket_lets_through_what_its_rate_says(clock: Clock) -> None:
    """A burst, then one for each second that passed; each client has its own."""
    buckets = RateLimiter(per_s=2, burst=3, clock=clock)
    assert [buckets.wait_s("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.wait_s("b") == 0
    clock.now += 0.5
    assert [buckets.wait_s("a"), buckets.wait_s("a")] == [0, 0.5]
    clock.now += 3600
    assert [buckets.wait_s("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_many_clients_do_not_fill_the_memory(clock: Clock) -> None:
    """Whoever was not seen for longest is forgotten."""
    buckets = RateLimiter(per_s=1, burst=1, clock=clock, max_clients=2)
    assert [buckets.wait_s(client) for client in "abcb"] == [0, 0, 0, 1]
    assert buckets.wait_s("a") == 0


@pytest.mark.parametrize(
    ("first", "other", "same"),
    [
        ("10.0.0.1", "10.0.0.2", False),
        ("2001:db8::1", "2001:db8::2:3", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("odd:address", "odd:address", True),
    ],
)
def test_an_ipv6_network_is_one_client(first: str, other: str, *, same: bool) -> None:
    """Its owner has all of its addresses."""
    assert (client_of(first) == client_of(other)) is same


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("limits")
    with live(folder, rate_limit=0.5, webhook_rate_limit=0.5) as service:
        yield service


def test_who_asks_too_often_is_told_when_to_go_on(slow: Live) -> None:
    """With 429, before the token is looked at; a health check always gets through."""
    answers = [slow.call("GET", "/api/v1/runs", Role.VIEWER) for _ in range(7)]
    assert answers[0].status_code == HTTPStatus.OK
    assert answers[-1].status_code == HTTPStatus.TOO_MANY_REQUESTS
    assert answers[-1].headers["content-type"] == "application/problem+json"
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 3
    assert slow.call("GET", "/healthz").status_code == HTTPStatus.OK


def test_a_delivery_too_many_is_one_that_alertmanager_tries_again(slow: Live) -> None:
    """503, counted, and none that was answered 200 is lost."""
    alert = {"status": "firing", "labels": {"alertname": "X"}}
    body = {"version": "4", "alerts": [alert]}
    codes = [
        slow.call("POST", "/webhook/alertmanager", Role.WEBHOOK, json=body).status_code
        for _ in range(8)
    ]
    assert set(codes) == {HTTPStatus.OK, HTTPStatus.SERVICE_UNAVAILABLE}
    rejected = "smartcloudops_webhook_rejected_total", {"code": "503"}
    assert slow.system.registry.get_sample_value(*rejected) == codes.count(503)


def test_a_delivery_that_breaks_the_service_is_counted(tmp_path: Path) -> None:
    """Else the availability would be better than what Alertmanager saw."""

    def broken() -> float:
        raise OSError("no clock")

    body = {"version": "4", "alerts": []}
    with live(tmp_path) as service:
        service.application.deliveries["/webhook/alertmanager"].clock = broken
        answer = service.call("POST", "/webhook/alertmanager", Role.WEBHOOK, json=body)
        metrics = service.system.registry
    assert answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR
    code = {"code": "500"}
    assert metrics.get_sample_value("smartcloudops_webhook_rejected_total", code) == 1


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_a_probe_may_ask_for_the_headers_alone(tmp_path: Path, path: str) -> None:
    """Load balancers do."""
    with live(tmp_path) as service:
        answer = service.call("HEAD", path)
    assert (answer.status_code, answer.content) == (HTTPStatus.OK, b"")


def test_a_long_path_stalls_nobody(tmp_path: Path) -> None:
    """Redaction of the log line for it took ten seconds, and all others waited."""
    with live(tmp_path) as service:
        path = "/api/v1/runs/" + "a." * 3_500
        begun = time.monotonic()
        answers = [service.call("GET", path).status_code for _ in range(5)]
        longer = service.call("GET", path * 8).status_code
        assert time.monotonic() - begun < 5
    assert set(answers) == {HTTPStatus.UNAUTHORIZED}
    assert longer == HTTPStatus.REQUEST_URI_TOO_LONG


@pytest.mark.parametrize(
    ("proxies", "valid"),
    [
        ("", True),
        ("10.0.0.1, 10.1.0.0/16,2001:db8::/32", True),
        ("*", False),
        ("not-an-address", False),
        ("10.0.0.1,*", False),
        ("0.0.0.0/0", False),
        ("::/0", False),
        ("10.0.0.1/8", False),
    ],
)
def test_only_addresses_are_trusted_as_proxies(proxies: str, *, valid: bool) -> None:
    """Else every client chooses the address that rate limits and the audit see."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SMARTCLOUDOPS_TRUSTED_PROXIES", proxies)
        if valid:
            assert load_settings().trusted_proxies == proxies
        else:
            with pytest.raises(SettingsError, match="TRUSTED_PROXIES"):
                load_settings()


def test_open_files_are_raised_and_bound_the_connections() -> None:
    """The soft limit of systemd, 1,024, would be full with a thousand strangers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (600, hard))
        factory = serving.options(Settings())["http"]
        assert factory.keywords["connections"].most == 600 - 256
        serving.raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
        factory = serving.options(Settings(max_connections=300))["http"]
        assert factory.keywords["connections"].most == 300
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_query_that_goes_on_and_on_is_cut_short(slow: Live) -> None:
    """Nobody needs eight kilobytes of it."""
    answer = slow.call("GET", f"/healthz?{'x' * 9000}")
    assert answer.status_code == HTTPStatus.REQUEST_URI_TOO_LONG


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return make_pki(tmp_path_factory.mktemp("pki"))


def _answer(url: str, context: ssl.SSLContext) -> httpx.Response:
    """The first answer; it takes a while until there is one."""
    until = time.monotonic() + 30
    while True:
        with suppress(httpx.ConnectError), httpx.Client(verify=context, trust_env=False) as http:
            return http.get(f"{url}/healthz")
        assert time.monotonic() < until
        time.sleep(0.1)


def test_with_a_client_ca_only_its_own_get_in(tmp_path: Path, pki: Pki) -> None:
    """HTTPS by the settings alone; who shows no certificate gets no answer."""
    tokens.create(tmp_path / "tokens.json", Role.ADMIN, "admin")
    env = settings(
        tmp_path,
        SMARTCLOUDOPS_TLS_CERT_FILE=str(pki.server[0]),
        SMARTCLOUDOPS_TLS_KEY_FILE=str(pki.server[1]),
        SMARTCLOUDOPS_TLS_CLIENT_CA_FILE=str(pki.ca),
        SMARTCLOUDOPS_PORT="0",
        SMARTCLOUDOPS_LOG_FORMAT="json",
    )
    with Processes(tmp_path / "logs") as processes:
        child = processes.start("receiver", [sys.executable, "-m", "receiver", "serve"], env=env)
        until, address = time.monotonic() + 30, ""
        while not address:
            assert time.monotonic() < until, child.log.read_text()
            lines = [line for line in child.log.read_text().splitlines() if "https://" in line]
            address = lines[0].partition("https://")[2].partition(" ")[0] if lines else ""
        url = f"https://{address}"
        context = ssl.create_default_context(cafile=str(pki.ca))
        context.load_cert_chain(*pki.client)
        answer = _answer(url, context)
        assert (answer.status_code, answer.json()) == (HTTPStatus.OK, {"status": "ok"})
        assert "max-age" in answer.headers["strict-transport-security"]
        stranger = ssl.create_default_context(cafile=str(pki.ca))
        with pytest.raises(httpx.TransportError), httpx.Client(verify=stranger) as http:
            http.get(f"{url}/healthz")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tls_cert_file": "CERT"}, "TLS_KEY_FILE"),
        ({"tls_client_ca_file": "CA"}, "must both be set"),
        ({"tls_cert_file": "/nowhere", "tls_key_file": "KEY"}, "TLS_CERT_FILE"),
        ({"tls_cert_file": "CA", "tls_key_file": "KEY"}, "TLS_CERT_FILE"),
        (
            {"tls_cert_file": "CERT", "tls_key_file": "KEY", "tls_client_ca_file": "KEY"},
            "TLS_CLIENT_CA_FILE",
        ),
    ],
)
def test_tls_that_cannot_be_had_is_named(pki: Pki, changed: dict[str, str], message: str) -> None:
    """Before the port is bound, and not silently left out."""
    files = {"CERT": pki.server[0], "KEY": pki.server[1], "CA": pki.ca}
    chosen = {key: files.get(value, Path(value)) for key, value in changed.items()}
    with pytest.raises(TlsError, match=message):
        serving.options(Settings.model_validate(chosen))
