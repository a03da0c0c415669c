"""People log in by the identity provider; what is stolen, replayed or broken logs nobody in."""

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from receiver.http.access import tokens
from receiver.http.access.callers import Role
from receiver.runtime import log_setup
from receiver.sso.provider import KEPT_S
from tests.api_fixtures import HOSTS, Live
from tests.conftest import Clock
from tests.console.console_fixtures import Visitor
from tests.sso.issuer import ISSUER, SECRET, Issuer
from tests.sso.sso_fixtures import ROLES, begin, live_with, log_in


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Live]:
    with live_with(tmp_path_factory.mktemp("sso"), issuer) as service:
        yield service


@pytest.fixture
def visitor(service: Live) -> Iterator[Visitor]:
    visitor = Visitor(service=service)
    with visitor.http:
        yield visitor


@pytest.fixture
def other(service: Live) -> Iterator[Visitor]:
    """Somebody with another browser."""
    visitor = Visitor(service=service)
    with visitor.http:
        yield visitor


@pytest.fixture(autouse=True)
def _anew(service: Live, issuer: Issuer) -> Iterator[None]:
    yield
    issuer.away, issuer.wrong = False, {}
    service.application.state.login_rate._left.clear()  # noqa: SLF001 failures of other tests
    (service.folder / "roles.yaml").write_text(ROLES)


def _api(service: Live, secret: str, method: str, path: str, **sent: Any) -> Any:
    return service.call(method, path, headers={"Authorization": f"Bearer {secret}"}, **sent)


def _events(service: Live, event: str) -> list[Mapping[str, Any]]:
    return [record for record in service.audit() if record["event"] == event]


def test_a_person_logs_in_and_out(service: Live, issuer: Issuer, visitor: Visitor) -> None:
    """To the page that was asked for, under the name of the provider, and the audit says how."""
    visitor.get("/runs?state=refused")
    assert "Log in by single sign-on" in visitor.page.text
    assert "next=/runs%3Fstate%3Drefused" in visitor.page.text
    page = log_in(visitor, issuer, "alice", "sre", "staff", then="/runs?state=refused")
    assert (visitor.page.status_code, visitor.page.url.query) == (HTTPStatus.OK, b"state=refused")
    assert "alice@example.com" in page
    assert "operator" in page
    record = _events(service, "console_login")[0]
    assert (record["actor"], record["detail"]["door"]) == ("alice@example.com", "sso")
    assert record["detail"]["origin"]["role"] == "operator"
    visitor.submit("/logout")
    assert visitor.get("/runs").url.path == "/login"


def test_only_the_browser_that_began_comes_back(
    issuer: Issuer, visitor: Visitor, other: Visitor
) -> None:
    """A stolen code, a link that logs a victim in as the attacker, and one code twice."""
    back = issuer.authorise(begin(visitor), "alice", ["sre"])
    stolen = other.get(back)
    assert stolen.status_code == HTTPStatus.UNAUTHORIZED
    assert "begun in another browser" in stolen.text
    begin(other)
    assert "begun in another browser" in other.get(back).text
    assert other.get("/runs").url.path == "/login"
    assert visitor.get(back).status_code == HTTPStatus.OK
    again = visitor.get(back)
    assert again.status_code == HTTPStatus.UNAUTHORIZED


def test_a_code_counts_once(issuer: Issuer, visitor: Visitor, other: Visitor) -> None:
    """And only with what the browser keeps, even for who has its state."""
    address = begin(visitor)
    back = issuer.authorise(address, "alice", ["sre"])
    code = back.partition("code=")[2].partition("&")[0]
    state = issuer.authorise(begin(other), "mallory", ["sre"]).partition("state=")[2]
    refused = other.get(f"/login/oidc/callback?code={code}&state={state}")
    assert "refused the code" in refused.text
    assert other.get("/runs").url.path == "/login"


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"nonce": "of another login"}, "of another login"),
        ({"aud": "another"}, "for another audience"),
        ({"iss": "https://evil.example"}, "of another issuer"),
        ({"exp": 1_000}, "has expired"),
        ({"groups": ["nobody"]}, "none of its groups has a role"),
        ({"groups": None}, "none of its groups has a role"),
        ({"email_verified": False}, "is not verified"),
        ({"email": None, "sub": "nameless"}, "no usable name"),
        ({"email": "a b<script>", "sub": "odd"}, "no usable name"),
        ({"sub": "sub-mallory"}, "belongs to another subject"),
    ],
)
def test_such_an_id_token_logs_nobody_in(
    issuer: Issuer, visitor: Visitor, wrong: dict[str, Any], problem: str
) -> None:
    """The page says why, and offers to log in again."""
    log_in(visitor, issuer, "alice", "sre")
    visitor.http.cookies.clear()
    issuer.wrong = wrong
    page = log_in(visitor, issuer, "alice", "sre")
    assert visitor.page.status_code == HTTPStatus.UNAUTHORIZED
    assert problem in page
    assert "Log in by single sign-on" in page
    assert visitor.get("/runs").url.path == "/login"


def test_the_provider_refuses(visitor: Visitor) -> None:
    """Its words are not repeated: anybody can write a link to here."""
    begin(visitor)
    page = visitor.get(
        "/login/oidc/callback?error=access_denied&error_description=Call%20me%20now"
    ).text
    assert "the identity provider answered access_denied" in page
    assert "Call" not in page
    assert "answered an error" in visitor.get("/login/oidc/callback?error=%3Cb%3E").text


def test_no_secret_is_in_a_log_or_the_audit(
    service: Live,
    issuer: Issuer,
    visitor: Visitor,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Neither codes nor tokens nor the client's secret, whether the login succeeds or not."""
    log_setup.configure("json", "debug", [])
    log_in(visitor, issuer, "alice", "sre")
    issuer.wrong = {"exp": 1_000}
    log_in(visitor, issuer, "alice", "sre")
    expired = issuer.token("alice", ["sre"], exp=1_000)
    assert _api(service, expired, "GET", "/api/v1/runs").status_code == HTTPStatus.UNAUTHORIZED
    said = "".join([*capfd.readouterr(), str(service.audit())])
    assert "oidc_login_failed" in said
    for secret in (*issuer.issued, expired, SECRET):
        assert secret not in said
        assert secret.rpartition(".")[2][:20] not in said


def test_a_jwt_at_the_api(service: Live, issuer: Issuer) -> None:
    """In a person's name; a wrong one is told why, and the audit has the person."""
    secret = issuer.token("bob", ["sre"])
    paused = _api(service, secret, "POST", "/api/v1/pause", json={"comment": "by bob"})
    assert paused.json()["changed_by"] == "bob@example.com"
    assert _events(service, "paused")[0]["actor"] == "bob@example.com"
    _api(service, secret, "POST", "/api/v1/resume", json={"comment": "by bob"})
    stale = _api(service, issuer.token("bob", ["sre"], exp=1_000), "GET", "/api/v1/runs")
    assert stale.status_code == HTTPStatus.UNAUTHORIZED
    assert stale.json()["detail"] == "the bearer token is refused: it has expired"
    assert 'error="invalid_token"' in stale.headers["www-authenticate"]
    viewer = _api(service, issuer.token("eve", ["staff"]), "POST", "/api/v1/pause", json={})
    assert viewer.status_code == HTTPStatus.FORBIDDEN
    delivered = _api(service, secret, "POST", "/webhook/alertmanager", json={})
    assert delivered.status_code == HTTPStatus.UNAUTHORIZED


def test_a_name_that_changes_is_the_same_person(service: Live, issuer: Issuer) -> None:
    """And a name that somebody else had does not make that person of anybody."""
    first = issuer.token("carol", ["sre"])
    renamed = issuer.token("carol", ["sre"], email="carol.smith@example.com")
    for secret in (first, renamed):
        answer = _api(service, secret, "POST", "/api/v1/pause", json={"comment": "c"})
        assert answer.json()["changed_by"] == "carol@example.com"
    _api(service, first, "POST", "/api/v1/resume", json={"comment": "c"})
    posing = _api(service, issuer.token("carol", ["sre"], sub="sub-x"), "GET", "/api/v1/runs")
    assert posing.status_code == HTTPStatus.UNAUTHORIZED
    assert "belongs to another subject" in posing.json()["detail"]


def test_roles_are_those_of_the_file_as_it_is(
    service: Live, issuer: Issuer, visitor: Visitor
) -> None:
    """A role that is taken ends a session and a JWT at the next request."""
    log_in(visitor, issuer, "dave", "other")
    secret = issuer.token("dave", ["other"])
    assert visitor.get("/runs").url.path == "/runs"
    (service.folder / "roles.yaml").write_text("roles: [{group: sre, role: operator}]")
    assert visitor.get("/runs").url.path == "/login"
    assert _api(service, secret, "GET", "/api/v1/runs").status_code == HTTPStatus.UNAUTHORIZED


def test_sessions_are_listed_and_ended(
    service: Live, issuer: Issuer, visitor: Visitor, other: Visitor
) -> None:
    """By an admin, of anybody; by others, of themselves."""
    log_in(visitor, issuer, "erin", "staff")
    log_in(other, issuer, "frank", "sre")
    own = visitor.get("/sessions").text
    assert "erin@example.com" in own
    assert "this browser" in own
    assert "frank@example.com" not in own
    admin = issuer.token("root", ["sre-leads"])
    listed = _api(service, admin, "GET", "/api/v1/sessions").json()["items"]
    of_frank = next(item["id"] for item in listed if item["name"] == "frank@example.com")
    assert visitor.submit(f"/sessions/{of_frank}/end", comment="mine?").status_code == 404
    assert other.get("/runs").url.path == "/runs"
    ended = _api(service, admin, "DELETE", f"/api/v1/sessions/{of_frank}?comment=lost+laptop")
    assert ended.status_code == HTTPStatus.OK
    assert other.get("/runs").url.path == "/login"
    detail = _events(service, "session_ended")[0]["detail"]
    assert (detail["name"], detail["comment"]) == ("frank@example.com", "lost laptop")
    of_erin = next(item["id"] for item in listed if item["name"] == "erin@example.com")
    visitor.get("/sessions")
    assert visitor.submit(f"/sessions/{of_erin}/end", comment="done").url.path == "/login"


def test_all_of_a_person_ends(service: Live, issuer: Issuer, visitor: Visitor) -> None:
    """Sessions, and a stolen JWT long before it expires."""
    log_in(visitor, issuer, "grace", "sre")
    stolen = issuer.token("grace", ["sre"])
    admin = issuer.token("root", ["sre-leads"])
    path = "/api/v1/people/grace@example.com/sessions?comment=stolen"
    assert _api(service, admin, "DELETE", path).status_code == HTTPStatus.OK
    assert visitor.get("/runs").url.path == "/login"
    refused = _api(service, stolen, "GET", "/api/v1/runs")
    assert "an admin has ended" in refused.json()["detail"]
    nobody = _api(service, admin, "DELETE", "/api/v1/people/nobody/sessions")
    assert nobody.status_code == HTTPStatus.NOT_FOUND


def test_tokens_are_for_machines_and_break_glass_is_on_record(
    service: Live, visitor: Visitor
) -> None:
    """A machine's token logs nobody in; a person's to break the glass does."""
    refused = visitor.log_in(Role.ADMIN)
    assert refused.status_code == HTTPStatus.UNAUTHORIZED
    assert "only a break-glass token logs in" in refused.text
    assert service.call("GET", "/api/v1/runs", Role.VIEWER).status_code == HTTPStatus.OK
    file = service.folder / "tokens.json"
    secret = tokens.create(
        file, Role.ADMIN, "glass-heidi", owner="heidi@example.com", break_glass=True
    )
    service.application.state.tokens.refresh()
    assert visitor.log_in(secret).url.path == "/"
    used = _events(service, "break_glass_used")
    assert [record["detail"]["person"] for record in used] == ["heidi@example.com"]
    assert used[0]["detail"]["origin"]["address"] == "127.0.0.1"
    assert _events(service, "console_login")[0]["detail"]["door"] == "break_glass"
    assert _api(service, secret, "GET", "/api/v1/runs").status_code == HTTPStatus.OK
    assert len(_events(service, "break_glass_used")) == 1


def test_who_requests_a_run_does_not_approve_it_at_another_door(
    service: Live, issuer: Issuer, visitor: Visitor
) -> None:
    """Requested by JWT, approved at the console."""
    body = {"playbook": "paired", "target": HOSTS[4], "comment": "try"}
    run = _api(service, issuer.token("kim", ["sre"]), "POST", "/api/v1/runs", json=body).json()
    service.until(run["id"], "awaiting_approval")
    log_in(visitor, issuer, "kim", "sre", then=f"/runs/{run['id']}")
    own = visitor.submit(f"/runs/{run['id']}/approve", comment="go", digest=visitor.digest())
    assert own.status_code == HTTPStatus.FORBIDDEN
    assert "kim@example.com requested the run" in own.text
    admin = issuer.token("root", ["sre-leads"])
    _api(service, admin, "POST", f"/api/v1/runs/{run['id']}/cancel", json={"comment": "done"})


def test_one_person_at_two_doors_is_one(service: Live, issuer: Issuer, visitor: Visitor) -> None:
    """By the console and by a token; two tokens of nobody are nobody."""
    file, names = service.folder / "tokens.json", ("ivan@example.com", "judy")
    own, nobody = (
        tokens.create(file, Role.OPERATOR, f"cli-{owner}", owner=owner) for owner in names
    )
    service.application.state.tokens.refresh()
    log_in(visitor, issuer, "ivan", "sre")
    run = service.until(service.start("paired", HOSTS[3])["id"], "awaiting_approval")
    body, path = {"comment": "go", "plan": run["plan"]["digest"]}, f"/api/v1/runs/{run['id']}"
    visitor.get(f"/runs/{run['id']}")
    first = visitor.submit(f"/runs/{run['id']}/approve", comment="go", digest=visitor.digest())
    assert first.status_code == HTTPStatus.OK
    again = _api(service, own, "POST", f"{path}/approve", json=body)
    assert (again.status_code, len(again.json()["approvals"])) == (HTTPStatus.ACCEPTED, 1)
    jwt = issuer.token("ivan", ["sre"], email="ivan.new@example.com")
    again = _api(service, jwt, "POST", f"{path}/approve", json=body)
    assert (again.status_code, len(again.json()["approvals"])) == (HTTPStatus.ACCEPTED, 1)
    unknown = _api(service, nobody, "POST", f"{path}/approve", json=body)
    assert unknown.status_code == HTTPStatus.FORBIDDEN
    assert "judy has not logged in by the identity provider" in unknown.json()["detail"]
    second = _api(service, issuer.token("judy", ["sre"]), "POST", f"{path}/approve", json=body)
    assert second.status_code == HTTPStatus.OK


def test_a_provider_that_is_away_fails_closed_with_one_error(tmp_path: Path, clock: Clock) -> None:
    """And breaking the glass lets people in; the sessions that are open go on."""
    issuer = Issuer()
    with live_with(tmp_path, issuer) as service:
        service.application.state.sso.provider.monotonic = clock
        visitor, late = Visitor(service=service), Visitor(service=service)
        with visitor.http, late.http:
            log_in(visitor, issuer, "alice", "sre")
            secret = issuer.token("alice", ["sre"])
            issuer.away = True
            assert _api(service, secret, "GET", "/api/v1/runs").status_code == HTTPStatus.OK
            clock.now += KEPT_S
            away = _api(service, secret, "GET", "/api/v1/runs")
            assert away.status_code == HTTPStatus.SERVICE_UNAVAILABLE
            assert "a break-glass token lets people in" in away.json()["detail"]
            page = late.get("/login/oidc")
            assert page.status_code == HTTPStatus.SERVICE_UNAVAILABLE
            assert "does not answer" in page.text
            assert visitor.get("/runs").url.path == "/runs"
            assert service.call("GET", "/api/v1/runs", Role.VIEWER).status_code == HTTPStatus.OK


def test_without_a_provider_there_is_no_such_login(tmp_path: Path) -> None:
    """And a JWT is a wrong token."""
    issuer = Issuer()
    with live_with(tmp_path, issuer, oidc_issuer=None) as service:
        assert service.call("GET", "/login/oidc").status_code == HTTPStatus.NOT_FOUND
        answer = _api(service, issuer.token("alice", ["sre"]), "GET", "/api/v1/runs")
        assert answer.status_code == HTTPStatus.UNAUTHORIZED
        assert ISSUER not in service.call("GET", "/login").text
