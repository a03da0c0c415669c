"""The console without a screen: who gets in, what they see, and what their forms do."""

import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import pytest
from sqlalchemy import text

from receiver.console.login import attempts
from receiver.http import tokens
from receiver.http.tokens import Role
from tests.actions.audit.audit_fixtures import unguarded
from tests.api_fixtures import GROUP, HOSTS, Live, live
from tests.console.console_fixtures import Visitor

_HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">'
_PAGES = ["/", "/runs", "/banner", "/controls", "/playbooks", "/model", "/audit", "/audit?verify=1"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("console")) as made:
        yield made


@pytest.fixture
def visitor(service: Live) -> Iterator[Visitor]:
    # Each test is somebody else's day: the attempts of the others are not theirs.
    service.application.state.logins = attempts()
    service.forget()
    made = Visitor(service=service)
    with made.http:
        yield made


def _operator(visitor: Visitor) -> Visitor:
    assert visitor.log_in(Role.OPERATOR).status_code == HTTPStatus.OK
    return visitor


def test_a_token_logs_in_and_the_page_asked_for_comes(visitor: Visitor) -> None:
    """The cookie is for this site's pages alone, and the secret of the token is not in it."""
    assert visitor.see("/runs").url.path == "/login"
    page = visitor.log_in(Role.VIEWER, then="/runs")
    assert (page.status_code, page.url.path) == (HTTPStatus.OK, "/runs")
    said = next(one for one in page.history if one.status_code == HTTPStatus.SEE_OTHER)
    cookie = said.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert visitor.service.tokens[Role.VIEWER] not in cookie


@pytest.mark.parametrize("secret", ["", "wrong", "\x00'\"<>", "x" * 5000])
def test_what_is_no_token_does_not_log_in(visitor: Visitor, secret: str) -> None:
    """And the audit says that somebody tried, without what they tried."""
    answer = visitor.log_in(secret)
    assert answer.status_code == HTTPStatus.UNAUTHORIZED
    assert visitor.see("/").url.path == "/login"
    record = visitor.service.audit()[0]
    assert (record["event"], record["actor"]) == ("console_login_failed", "nobody")
    assert record["detail"].keys() == {"address", "request_id"}


def test_a_webhook_token_does_not_log_in(visitor: Visitor) -> None:
    """It may deliver alerts and nothing else."""
    assert visitor.log_in(Role.WEBHOOK).status_code == HTTPStatus.UNAUTHORIZED


def test_a_login_is_on_record(visitor: Visitor) -> None:
    """With who and from where."""
    visitor.log_in(Role.OPERATOR)
    record = visitor.service.audit()[0]
    assert (record["event"], record["actor"]) == ("console_login", "operator")
    assert record["detail"]["origin"]["address"] == "127.0.0.1"


def test_who_guesses_is_soon_told_to_wait(visitor: Visitor) -> None:
    """A right token does not get in then either."""
    for _ in range(10):
        assert visitor.log_in("guess").status_code == HTTPStatus.UNAUTHORIZED
    answer = visitor.log_in(Role.ADMIN)
    assert answer.status_code == HTTPStatus.TOO_MANY_REQUESTS
    assert int(answer.headers["retry-after"]) > 0


def test_a_revoked_token_ends_its_session_at_once(visitor: Visitor) -> None:
    """Not only at the next login."""
    file = visitor.service.folder / "tokens.json"
    visitor.log_in(tokens.create(file, Role.OPERATOR, "leaver"))
    assert visitor.see("/").url.path == "/"
    tokens.revoke(file, "leaver")
    assert visitor.see("/").url.path == "/login"


def test_an_expired_token_ends_its_session(visitor: Visitor) -> None:
    """Its time is looked at with each request."""
    file, ends = visitor.service.folder / "tokens.json", time.time() + 1.5
    visitor.log_in(tokens.create(file, Role.VIEWER, f"guest{ends}", expires_at=ends))
    assert visitor.see("/").url.path == "/"
    time.sleep(max(0.0, ends - time.time()) + 0.1)
    assert visitor.see("/").url.path == "/login"


def test_logging_out_ends_the_session(visitor: Visitor) -> None:
    """Also for who kept the cookie."""
    _operator(visitor)
    kept = dict(visitor.http.cookies)
    visitor.send("/logout")
    visitor.http.cookies.update(kept)
    assert visitor.see("/").url.path == "/login"


@pytest.mark.parametrize("there", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_a_login_leads_to_a_page_of_ours_only(visitor: Visitor, there: str) -> None:
    """Whatever the link said."""
    page = visitor.log_in(Role.VIEWER, then=there)
    assert (page.url.host, page.url.path) == ("127.0.0.1", "/")


@pytest.mark.parametrize("csrf", ["", "0" * 64, "ü"])
def test_a_form_of_another_site_is_refused(visitor: Visitor, csrf: str) -> None:
    """Nothing is done."""
    _operator(visitor)
    answer = visitor.post("/pause", {"csrf": csrf, "comment": "evil"})
    assert answer.status_code == HTTPStatus.FORBIDDEN
    assert visitor.service.audit()[0]["event"] != "paused"
    stranger = Visitor(service=visitor.service)
    with stranger.http:
        secret = visitor.service.tokens[Role.ADMIN]
        answer = stranger.post("/login", {"csrf": csrf, "token": secret, "next": "/"})
    assert answer.status_code == HTTPStatus.FORBIDDEN


def test_a_viewer_sees_no_buttons_and_is_refused(visitor: Visitor) -> None:
    """What the page leaves out, the server does not do either."""
    run = visitor.service.asking(HOSTS[0])
    visitor.log_in(Role.VIEWER)
    page = visitor.see(f"/runs/{run['id']}").text
    for word in ("Approve<", "Deny<", "Pause everything", "/cancel"):
        assert word not in page
    for path in (f"/runs/{run['id']}/approve", "/pause", "/resume"):
        answer = visitor.send(path, comment="let me", digest=run["plan"]["digest"])
        assert answer.status_code == HTTPStatus.FORBIDDEN
        visitor.see("/")
    assert visitor.service.until(run["id"], "awaiting_approval")


def test_an_approval_sent_twice_acts_once(visitor: Visitor) -> None:
    """The second is told that it is too late."""
    run = visitor.service.asking(HOSTS[1])
    before = len(visitor.service.aws.calls)
    page = _operator(visitor).see(f"/runs/{run['id']}")
    fields = {"csrf": visitor.csrf(), "digest": visitor.digest(), "comment": "go"}
    assert "Approve<" in page.text
    first = visitor.post(f"/runs/{run['id']}/approve", fields)
    again = visitor.post(f"/runs/{run['id']}/approve", fields)
    assert (first.status_code, again.status_code) == (HTTPStatus.OK, HTTPStatus.CONFLICT)
    story = visitor.service.until(run["id"], "succeeded")
    assert len(visitor.service.aws.calls) == before + 1
    assert (story["approval"]["by"], story["approval"]["comment"]) == ("operator", "go")
    # What cannot be undone is not offered to be.
    assert "Roll back<" not in visitor.see(f"/runs/{run['id']}").text
    said = [one for one in visitor.service.audit(run["id"]) if "approved" in one["event"]]
    assert [one["detail"]["origin"]["role"] for one in said] == ["operator"]


def test_another_plan_than_the_one_seen_is_not_approved(visitor: Visitor) -> None:
    """The form names the plan that was on the page."""
    run = visitor.service.asking(HOSTS[2])
    _operator(visitor).see(f"/runs/{run['id']}")
    answer = visitor.send(f"/runs/{run['id']}/approve", digest="0" * 64, comment="go")
    assert answer.status_code == HTTPStatus.CONFLICT
    assert "another one" in answer.text
    assert visitor.service.until(run["id"], "awaiting_approval")


def test_every_deed_asks_why(visitor: Visitor) -> None:
    """Without a comment nothing is done."""
    run = visitor.service.asking(HOSTS[3])
    _operator(visitor).see(f"/runs/{run['id']}")
    answer = visitor.send(f"/runs/{run['id']}/deny", comment="   ")
    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    visitor.see(f"/runs/{run['id']}")
    visitor.send(f"/runs/{run['id']}/deny", comment="not now")
    story = visitor.service.until(run["id"], "cancelled")
    assert story["outcome"] == "denied by operator: not now"
    visitor.send(f"/runs/{run['id']}/mark-wrong", comment="it should have")
    assert visitor.service.until(run["id"], "cancelled")["mark"]["right"] is False


def test_what_an_alert_says_is_text_and_no_page(visitor: Visitor) -> None:
    """Labels and annotations come from anybody."""
    labels = {"alertname": _HOSTILE, "instance_id": HOSTS[4], "asg": GROUP, "<b>": _HOSTILE}
    alert = {
        "status": "firing",
        "labels": labels,
        "annotations": {"summary": _HOSTILE, "description": "javascript:alert(3)"},
        "startsAt": "2026-11-24T10:00:00Z",
    }
    body = {"version": "4", "alerts": [alert]}
    visitor.service.call("POST", "/webhook/alertmanager", Role.WEBHOOK, json=body)
    _operator(visitor)
    run = visitor.service.call("GET", "/api/v1/runs?limit=1", Role.VIEWER).json()["items"][0]
    visitor.service.until(run["id"], "refused")
    for path in ("/", "/runs", f"/runs/{run['id']}"):
        page = visitor.see(path).text
        assert "&lt;script&gt;alert(1)" in page
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "<b>" not in page


@pytest.mark.parametrize("path", _PAGES)
def test_a_page_comes_with_what_keeps_it_safe(visitor: Visitor, path: str) -> None:
    """Nothing inline, nothing from elsewhere, in no frame, kept by no cache."""
    answer = _operator(visitor).see(path)
    assert answer.status_code == HTTPStatus.OK
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["cache-control"] == "no-store"
    for inline in (" style=", " onclick=", '="javascript:', "<script>", "<style"):
        assert inline not in answer.text


def test_pausing_and_resuming_from_the_page(visitor: Visitor) -> None:
    """The same switch as the API's, with who and why on every page."""
    _operator(visitor).see("/")
    page = visitor.send("/pause", comment="deploying <i>now</i>").text
    assert "Paused. Nothing acts." in page
    assert "deploying &lt;i&gt;now&lt;/i&gt;" in page
    assert visitor.service.start("acting", HOSTS[5], dry_run=True)["refusal"] == "paused"
    assert "Paused. Nothing acts." in visitor.see("/runs").text
    assert "Paused. Nothing acts." not in visitor.send("/resume", comment="done").text
    record = visitor.service.audit()[0]
    assert (record["event"], record["actor"]) == ("resumed", "operator")
    assert record["detail"]["origin"]["role"] == "operator"


def test_what_has_not_changed_is_not_sent_again(visitor: Visitor) -> None:
    """A page that polls is left alone, with whatever somebody is typing into it."""
    run = visitor.service.asking(HOSTS[0])
    where = f"/runs/{run['id']}"
    page = _operator(visitor).see(where).text
    poll = page.split('hx-get="/runs/')[1].split('"')[0].replace("&amp;", "&")
    assert visitor.see(f"/runs/{poll}", **{"HX-Request": "true"}).status_code == 204
    visitor.see(where)
    visitor.send(f"{where}/deny", comment="no")
    visitor.service.until(run["id"], "cancelled")
    answer = visitor.see(f"/runs/{poll}", **{"HX-Request": "true"})
    assert answer.status_code == HTTPStatus.OK
    assert "<html" not in answer.text
    assert "It did right" in answer.text


def test_a_poll_after_the_end_of_the_session_leads_to_the_login(visitor: Visitor) -> None:
    """The whole page, not the part that asked."""
    answer = visitor.see("/", **{"HX-Request": "true"})
    assert answer.status_code == HTTPStatus.UNAUTHORIZED
    assert answer.headers["hx-redirect"] == "/login?next=/"


def test_a_link_from_a_chat_is_asked_for_again(visitor: Visitor) -> None:
    """A browser sends the cookie only with what a page of ours asks for."""
    answer = visitor.see("/runs", **{"Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, answer.url.path) == (HTTPStatus.OK, "/runs")
    assert 'http-equiv="refresh"' in answer.text


def test_an_override_from_the_page_holds_until_it_is_ended_there(visitor: Visitor) -> None:
    """Matchers as Alertmanager writes them; commas may be inside their quotes."""
    _operator(visitor).see("/controls")
    fields = {"effect": "hold", "lasts": "4 hours", "comment": "<em>migration</em>"}
    page = visitor.send("/controls/overrides", matchers=f'asg="{GROUP}", a=~"x,y|"', **fields)
    assert page.status_code == HTTPStatus.OK
    assert "&lt;em&gt;migration" in page.text
    (made,) = visitor.service.call("GET", "/api/v1/overrides", Role.VIEWER).json()["items"]
    assert [one["value"] for one in made["matchers"]] == [GROUP, "x,y|"]
    assert made["created_by"] == "operator"
    assert visitor.service.start("acting", HOSTS[5], dry_run=True)["refusal"] == "override_hold"
    visitor.send(f"/controls/overrides/{made['id']}/end", comment="done")
    assert visitor.service.call("GET", "/api/v1/overrides", Role.VIEWER).json()["items"] == []
    record = visitor.service.audit()[0]
    assert (record["event"], record["detail"]["comment"]) == ("override_ended", "done")


@pytest.mark.parametrize("matchers", ["", "no matcher", 'a=""', 'a=~"("'])
def test_an_override_of_everything_or_of_nonsense_is_refused(
    visitor: Visitor, matchers: str
) -> None:
    """As by the API."""
    _operator(visitor).see("/controls")
    fields = {"effect": "hold", "lasts": "1 day", "comment": "why"}
    answer = visitor.send("/controls/overrides", matchers=matchers, **fields)
    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert visitor.service.call("GET", "/api/v1/overrides", Role.VIEWER).json()["items"] == []


def test_a_cooldown_is_listed_and_ended(visitor: Visitor) -> None:
    """With the run that left it."""
    run = visitor.service.until(visitor.service.start("acting", HOSTS[5])["id"], "succeeded")
    page = _operator(visitor).see("/controls").text
    assert HOSTS[5] in page
    assert run["id"] in page
    visitor.send("/controls/cooldowns/end", target=HOSTS[5], comment="look again")
    assert visitor.service.call("GET", "/api/v1/cooldowns", Role.VIEWER).json()["items"] == []


def test_a_playbook_is_tried_by_hand(visitor: Visitor) -> None:
    """A dry run tells what would be done, and does nothing."""
    before = len(visitor.service.aws.calls)
    _operator(visitor).see("/playbooks")
    page = visitor.send("/playbooks/acting/run", target=HOSTS[5], comment="would it", how="dry")
    assert page.url.path.startswith("/runs/")
    assert "it is a dry run" in page.text
    assert len(visitor.service.aws.calls) == before
    visitor.see("/playbooks")
    answer = visitor.send("/playbooks/acting/run", target="../etc", comment="x", how="dry")
    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY


def test_a_playbook_shows_how_it_has_done(visitor: Visitor) -> None:
    """Of the runs in which it acted, how many recovered."""
    visitor.service.until(visitor.service.start("acting", HOSTS[4])["id"], "succeeded")
    page = _operator(visitor).see("/playbooks").text
    assert "100 % recovered" in page
    assert "It has not acted" in page


def test_the_audit_says_whether_it_holds(visitor: Visitor) -> None:
    """And where it does not."""
    assert "The chain holds" in _operator(visitor).see("/audit/verified").text
    unguarded(visitor.service.system.database)
    with visitor.service.system.database.write() as connection:
        connection.execute(text("update audit set actor = actor || 'x' where seq = 3"))
    page = visitor.see("/audit?verify=1").text
    with visitor.service.system.database.write() as connection:
        connection.execute(text("update audit set actor = rtrim(actor, 'x') where seq = 3"))
    assert "The chain is broken</strong> at record 3, which was altered" in page


@pytest.mark.parametrize(
    "path",
    [
        "/runs?state=x",
        "/runs?since=x",
        "/audit?cursor=x",
        "/audit?since=x",
        f"/runs/{'0' * 26}",
        "/runs/~",
    ],
)
def test_what_is_not_there_is_said_on_a_page(visitor: Visitor, path: str) -> None:
    """No JSON for people."""
    answer = _operator(visitor).see(path)
    assert answer.status_code in {HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.NOT_FOUND}
    assert answer.headers["content-type"].startswith("text/html")


def test_runs_are_found_by_what_they_are(visitor: Visitor) -> None:
    """By state, playbook, target and age."""
    run = visitor.service.until(visitor.service.start("acting", HOSTS[3])["id"], "succeeded")
    _operator(visitor)
    fits = f"/runs?state=succeeded&playbook=acting&target={HOSTS[3]}&since=1h"
    assert run["id"] in visitor.see(fits).text
    assert run["id"] not in visitor.see("/runs?state=failed").text
    assert run["id"] not in visitor.see("/runs?playbook=asking").text


def test_every_page_of_a_console_on_its_first_day(tmp_path: Path) -> None:
    """Nothing has happened yet, and a viewer looks."""
    with live(tmp_path) as service:
        visitor = Visitor(service=service)
        with visitor.http:
            assert visitor.log_in(Role.VIEWER).status_code == HTTPStatus.OK
            for path in _PAGES:
                assert visitor.see(path).status_code == HTTPStatus.OK, path


def test_over_tls_the_cookie_is_for_tls_alone(visitor: Visitor) -> None:
    """Also where a proxy in front ends TLS; no other site can set one of its name."""
    answer = visitor.see("/login", **{"X-Forwarded-Proto": "https"})
    assert answer.headers["set-cookie"].startswith("__Host-smartcloudops-login=")
    assert "; Secure" in answer.headers["set-cookie"]
    assert "Domain" not in answer.headers["set-cookie"]
    assert "strict-transport-security" in answer.headers
