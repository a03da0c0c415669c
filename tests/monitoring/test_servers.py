"""Prometheus and Alertmanager behind logins, in the words of Prometheus' configuration."""

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import structlog
from moto import mock_aws
from moto.sts.models import sts_backends
from pydantic import HttpUrl

from receiver.evidence.prometheus.answers import PrometheusError
from receiver.evidence.prometheus.connect import connect
from receiver.monitoring import alertmanager, servers
from receiver.monitoring.alertmanager import AlertmanagerError
from receiver.monitoring.servers import InvalidServersError
from receiver.settings import Settings
from tests.http.pki import Pki, make_pki
from tests.monitoring.sigv4_verifier import is_signed

_SECRET = "hunter2/secret+key"
_UNUSED = HttpUrl("http://unused")
_VECTOR = {"status": "success", "data": {"resultType": "vector", "result": []}}


@dataclass
class _Seen:
    """The requests that came, as method, target, headers in lower case, and body."""

    url: str = ""
    requests: list[tuple[str, str, Mapping[str, str], bytes]] = field(default_factory=list)

    @property
    def headers(self) -> Mapping[str, str]:
        return self.requests[-1][2]


@contextmanager
def _server(pki: Pki | None = None) -> Iterator[_Seen]:
    """A Prometheus and Alertmanager; with a `pki`, by TLS, with a client certificate."""
    seen = _Seen()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            seen.requests.append((self.command, self.path, headers, body))
            content = json.dumps([] if "/api/v2/" in self.path else _VECTOR).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET = _answer  # noqa: N815 the names of the base class

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if pki is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*pki.server)
            context.load_verify_locations(pki.ca)
            context.verify_mode = ssl.CERT_REQUIRED
            server.socket = context.wrap_socket(server.socket, server_side=True)
        seen.url = f"http{'s' if pki else ''}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield seen
        finally:
            server.shutdown()
            thread.join()


def _ask(folder: Path, url: str, *lines: str) -> None:
    """Query the server with these lines in its file, as Prometheus and as Alertmanager."""
    file = folder / "servers.yaml"
    file.write_text("\n  ".join([f"- url: {url}", *lines]) + "\n")
    settings = Settings(prometheus_file=file, alertmanager_file=file)
    with connect(settings) as prometheus:
        prometheus.instant_query('count(up{a="b c+d"})', at=60)
    alertmanager.connect(settings).active_alerts()


@pytest.mark.parametrize(
    ("lines", "name", "value"),
    [
        (
            ["http_config:", "  basic_auth: {username: me, password: pass}"],
            "authorization",
            "Basic bWU6cGFzcw==",
        ),
        (
            ["http_config:", "  basic_auth: {username_file: FILE, password: pass}"],
            "authorization",
            "Basic ZnJvbS1maWxlOnBhc3M=",
        ),
        (
            ["http_config:", "  authorization: {credentials: token}"],
            "authorization",
            "Bearer token",
        ),
        (
            ["http_config:", "  authorization: {type: Token, credentials_file: FILE}"],
            "authorization",
            "Token from-file",
        ),
        (
            ["http_config:", "  http_headers: {X-Scope-OrgID: {values: [a|b]}}"],
            "x-scope-orgid",
            "a|b",
        ),
        (
            ["http_config:", "  http_headers: {X-Key: {secrets: [one], files: [FILE]}}"],
            "x-key",
            "one, from-file",
        ),
    ],
)
def test_a_login_is_sent_with_each_request(
    tmp_path: Path, lines: list[str], name: str, value: str
) -> None:
    """To both servers."""
    (tmp_path / "secret").write_text("from-file\n")
    lines = [line.replace("FILE", str(tmp_path / "secret")) for line in lines]
    with _server() as seen:
        _ask(tmp_path, seen.url, *lines)
    assert [headers[name] for _, _, headers, _ in seen.requests] == [value, value]


def test_a_file_is_read_again_and_its_absence_is_an_error_without_a_secret(tmp_path: Path) -> None:
    """Tokens are rotated while the service runs; without one nothing is sent."""
    secret, file = tmp_path / "token", tmp_path / "servers.yaml"
    with _server() as seen:
        file.write_text(
            f"- url: {seen.url}\n  http_config: {{authorization: {{credentials_file: {secret}}}}}\n"
        )
        settings = Settings(prometheus_file=file, alertmanager_file=file)
        with connect(settings) as prometheus:
            for text in ("first", "second"):
                secret.write_text(text)
                prometheus.instant_query("up", at=60)
                assert seen.headers["authorization"] == f"Bearer {text}"
            secret.unlink()
            with pytest.raises(PrometheusError, match=r"no login at Prometheus: .*token cannot be"):
                prometheus.instant_query("up", at=60)
        with pytest.raises(AlertmanagerError, match="token cannot be read") as caught:
            alertmanager.connect(settings).active_alerts()
        assert not caught.value.sent
    assert len(seen.requests) == 2


def test_a_private_ca_and_a_client_certificate(tmp_path: Path) -> None:
    """Without the CA the server is not believed, and without the certificate it refuses."""
    pki = make_pki(tmp_path)
    cert, key = pki.client
    tls = f"ca_file: {pki.ca}, cert_file: {cert}, key_file: {key}"
    with _server(pki) as seen:
        _ask(tmp_path, seen.url, f"http_config: {{tls_config: {{{tls}}}}}")
        for part in (f"ca_file: {pki.ca}", f"{tls}, server_name: elsewhere.example", 'ca: ""'):
            with pytest.raises(PrometheusError, match="unreachable"):
                _ask(tmp_path, seen.url, f"http_config: {{tls_config: {{{part}}}}}")
    assert len(seen.requests) == 2


def test_a_proxy_is_used_but_for_what_is_near(tmp_path: Path) -> None:
    """The proxy gets the whole URL; a host of `no_proxy` is asked itself."""
    with _server() as proxy, _server() as near:
        _ask(tmp_path, "http://far.example", f"http_config: {{proxy_url: '{proxy.url}'}}")
        assert proxy.requests[0][1] == "http://far.example/api/v1/query"
        config = f"http_config: {{proxy_url: '{proxy.url}', no_proxy: 127.0.0.1}}"
        _ask(tmp_path, near.url, config)
        assert len(near.requests) == len(proxy.requests) == 2


def test_requests_are_signed_for_aws(tmp_path: Path) -> None:
    """As an independent verifier reads them from the wire: method, path, query and body."""
    config = f"sigv4: {{region: eu-west-1, access_key: AKID, secret_key: {_SECRET}}}"
    with _server() as seen:
        url = f"{seen.url}/workspaces/ws-1 2".replace(" ", "%20")
        _ask(tmp_path, url, config)
    assert [request[0] for request in seen.requests] == ["POST", "GET"]
    for method, target, headers, body in seen.requests:
        assert "/eu-west-1/aps/aws4_request" in headers["authorization"]
        assert is_signed(method, target, headers, body, _SECRET)
        assert not is_signed(method, target, headers, body + b"x", _SECRET)
        assert not is_signed(method, f"{target}&x=y", headers, body, _SECRET)
        assert not is_signed(method, target, headers, body, "other")


def test_requests_are_signed_in_the_name_of_a_role(tmp_path: Path) -> None:
    """By the credentials that STS gives each client for it, with their token."""
    config = (
        f"sigv4: {{region: eu-west-1, access_key: AKID, secret_key: {_SECRET},"
        " role_arn: 'arn:aws:iam::111122223333:role/metrics'}"
    )
    with mock_aws(), _server() as seen:
        _ask(tmp_path, seen.url, config)
        roles = sts_backends["111122223333"]["aws"].assumed_roles
    assert {(role.session_name, role.role_arn) for role in roles} == {
        ("smartcloudops", "arn:aws:iam::111122223333:role/metrics")
    }
    for role, (method, target, headers, body) in zip(roles, seen.requests, strict=True):
        assert f"Credential={role.access_key_id}/" in headers["authorization"]
        assert headers["x-amz-security-token"] == role.session_token
        assert is_signed(method, target, headers, body, role.secret_access_key)
        assert not is_signed(method, target, headers, body, _SECRET)


def test_a_query_by_get_is_signed_as_it_is_sent(tmp_path: Path) -> None:
    """Spaces, plus signs and quotes in a query."""
    config = f"sigv4: {{region: eu-west-1, access_key: AKID, secret_key: {_SECRET}}}"
    with _server() as seen:
        file = tmp_path / "servers.yaml"
        file.write_text(f"- url: {seen.url}\n  {config}\n")
        with connect(Settings(prometheus_file=file)) as prometheus:
            prometheus._only_get.set()  # noqa: SLF001 as after a proxy's refusal of POST
            prometheus.instant_query('sum(up{a="b c+d/é"}) > bool 1', at=60)
    ((method, target, headers, body),) = seen.requests
    assert method == "GET"
    assert is_signed(method, target, headers, body, _SECRET)


def test_the_verifier_knows_the_signature_of_awss_own_example() -> None:
    """`get-vanilla` of AWS's Signature Version 4 test suite."""
    headers = {
        "host": "example.amazonaws.com",
        "x-amz-date": "20150830T123600Z",
        "authorization": "AWS4-HMAC-SHA256 "
        "Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        "SignedHeaders=host;x-amz-date, "
        "Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    }
    secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
    assert is_signed("GET", "/", headers, b"", secret)


def test_the_alerts_labels_choose_the_server(tmp_path: Path) -> None:
    """The first that knows the alert; the last knows all others."""
    file = tmp_path / "servers.yaml"
    file.write_text("- {url: 'http://eu', match: ['cluster=~\"eu-.*\"']}\n- {url: 'http://rest'}\n")
    with connect(Settings(prometheus_file=file)) as prometheus:
        assert prometheus.url == "http://rest/"
        assert prometheus.of({"cluster": "eu-1"}).url == "http://eu/"
        assert prometheus.of({"cluster": "us-1"}).url == "http://rest/"


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("[]\n", ":1: the last server must have no match"),
        ("- {url: 'http://a', match: ['a=\"b\"']}\n", ":1: the last server must have no match"),
        ("url: http://a\n", ":1: the file is not a list"),
        ("- {url: nowhere}\n", ":1: url: "),
        ("- url: http://a\n  match: ['a b']\n", ":2: "),
        ("- url: http://a\n  http_config: {oauth2: {}}\n", ":2: oauth2: Extra inputs"),
        ("- url: http://a\n  http_config: {tls_config: {insecure_skip_verify: true}}\n", ":2: "),
        ("- url: http://a\n  http_config: {tls_config: {ca_file: /missing}}\n", "tls_config: No"),
        ("- url: http://a\n  http_config: {tls_config: {cert_file: a}}\n", "need each other"),
        ("- url: http://a\n  http_config: {authorization: {}}\n", "write credentials or"),
        (
            "- url: http://a\n  sigv4: {}\n  http_config: {basic_auth: {username: a}}\n",
            "write sigv4, basic_auth or authorization",
        ),
        (f"- url: http://a\n  sigv4: {{secret_key: {_SECRET}}}\n", "need each other"),
        (f"- url: http://a\n  sigv4: {{secret_key: [{_SECRET}]}}\n", ":2: secret_key"),
    ],
)
def test_a_faulty_file_is_refused_with_its_lines_and_without_its_secrets(
    tmp_path: Path, text: str, finding: str
) -> None:
    """In the error, and in its representation."""
    file = tmp_path / "servers.yaml"
    file.write_text(text)
    with pytest.raises(InvalidServersError) as caught:
        servers.load(file, _UNUSED)
    assert finding in str(caught.value)
    assert _SECRET not in f"{caught.value!r} {caught.value}"


def test_no_secret_is_shown_or_logged(tmp_path: Path) -> None:
    """The log redacts what the file has."""
    file = tmp_path / "servers.yaml"
    file.write_text(
        f"- url: http://me:{_SECRET.replace('/', '')}@a\n"
        f"  http_config: {{authorization: {{credentials: {_SECRET}}},"
        f" http_headers: {{X-Key: {{secrets: [{_SECRET}]}}}}}}\n"
    )
    with structlog.testing.capture_logs() as events:
        (server,) = servers.load(file, _UNUSED)
    assert events == []
    assert _SECRET not in repr(server)
    assert server.secrets() == [_SECRET.replace("/", ""), _SECRET, _SECRET]
