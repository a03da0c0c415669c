"""The console over HTTP: logins, pages, and what their forms do."""

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest
from sqlalchemy import delete, insert, select, text

from actions.aws.client_set import Aws
from actions.place import Place
from demo.aws.clients import clients
from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.aws.world import AwsError
from receiver.console.login import login_rate
from receiver.console.playbook_page import read_tests
from receiver.db.tables import comparisons, run_search, runs
from receiver.http.access import tokens
from receiver.http.access.callers import Role
from tests.actions.audit.audit_fixtures import unguarded
from tests.api_fixtures import GROUP, HOSTS, Live, live
from tests.console.console_fixtures import Visitor

_HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">'
_PAGES = [
    *("/", "/service", "/runs", "/banner", "/controls", "/playbooks", "/playbooks/acting"),
    *("/groups/web-asg", "/groups/none", "/model", "/audit", "/audit?verify=1"),
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("console")) as service:
        yield service


@pytest.fixture
def visitor(service: Live) -> Iterator[Visitor]:
    # The login attempts of other tests do not count against this one.
    service.application.state.login_rate = login_rate()
    service.forget()
    visitor = Visitor(service=service)
    with visitor.http:
        yield visitor


def _operator(visitor: Visitor) -> Visitor:
    assert visitor.log_in(Role.OPERATOR).status_code == HTTPStatus.OK
    return visitor


def test_after_the_login_the_requested_page_is_shown(visitor: Visitor) -> None:
    """The cookie is HttpOnly and SameSite=Strict, and does not contain the token."""
    assert visitor.get("/runs").url.path == "/login"
    page = visitor.log_in(Role.VIEWER, then="/runs")
    assert (page.status_code, page.url.path) == (HTTPStatus.OK, "/runs")
    redirect = next(
        response for response in page.history if response.status_code == HTTPStatus.SEE_OTHER
    )
    cookie = redirect.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert visitor.service.tokens[Role.VIEWER] not in cookie


@pytest.mark.parametrize("secret", ["", "wrong", "\x00'\"<>", "x" * 5000])
def test_an_invalid_token_does_not_log_in(visitor: Visitor, secret: str) -> None:
    """The audit records the attempt, without the submitted token."""
    answer = visitor.log_in(secret)
    assert answer.status_code == HTTPStatus.UNAUTHORIZED
    assert visitor.get("/").url.path == "/login"
    record = visitor.service.audit()[0]
    assert (record["event"], record["actor"]) == ("console_login_failed", "nobody")
    assert record["detail"].keys() == {"address", "request_id"}


def test_a_webhook_token_does_not_log_in(visitor: Visitor) -> None:
    """It may only deliver alerts."""
    assert visitor.log_in(Role.WEBHOOK).status_code == HTTPStatus.UNAUTHORIZED


def test_a_login_is_audited(visitor: Visitor) -> None:
    """With the token's name and the address."""
    visitor.log_in(Role.OPERATOR)
    record = visitor.service.audit()[0]
    assert (record["event"], record["actor"]) == ("console_login", "operator")
    assert record["detail"]["origin"]["address"] == "127.0.0.1"


def test_failed_logins_are_rate_limited(visitor: Visitor) -> None:
    """Beyond the rate they are refused with the time to wait, and not recorded."""
    for _ in range(10):
        assert visitor.log_in("guess").status_code == HTTPStatus.UNAUTHORIZED
    recorded = len(visitor.service.audit())
    answer = visitor.log_in("guess")
    assert answer.status_code == HTTPStatus.TOO_MANY_REQUESTS
    assert int(answer.headers["retry-after"]) > 0
    assert len(visitor.service.audit()) == recorded


def test_what_was_typed_outlives_the_session(visitor: Visitor) -> None:
    """It is kept to be sent after a login; nothing happens twice, or by another site."""
    visitor.log_in(Role.OPERATOR)
    visitor.get("/controls")
    typed = {"csrf": visitor.csrf(), "comment": "a long <reason>"}
    visitor.http.cookies.clear()
    same = {"Sec-Fetch-Site": "same-origin"}
    visitor.page = visitor.http.post("/pause", data=typed, headers=same)
    assert visitor.page.status_code == HTTPStatus.UNAUTHORIZED
    assert 'value="a long &lt;reason&gt;"' in visitor.page.text
    assert 'target="_blank"' in visitor.page.text
    visitor.log_in(Role.OPERATOR)
    visitor.page = visitor.http.post("/pause", data={"comment": "a long <reason>"}, headers=same)
    assert visitor.page.status_code == HTTPStatus.FORBIDDEN
    assert "Nothing was done yet" in visitor.page.text
    assert visitor.service.audit()[0]["event"] == "console_login"
    visitor.submit("/pause", comment="a long <reason>")
    assert visitor.page.status_code == HTTPStatus.OK
    assert visitor.service.audit()[0]["detail"]["comment"] == "a long <reason>"
    visitor.submit("/resume", comment="done")
    for site in ("cross-site", "same-site", ""):
        elsewhere = visitor.http.post("/pause", data=typed, headers={"Sec-Fetch-Site": site})
        assert elsewhere.status_code == HTTPStatus.FORBIDDEN
        assert "reason" not in elsewhere.text


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nothing", 404), ("DELETE", "/runs", 405)]
)
def test_an_error_is_a_page_for_a_browser(
    visitor: Visitor, method: str, path: str, status: int
) -> None:
    """And a problem for a program."""
    page = visitor.http.request(method, path, headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["content-type"][:9]) == (status, "text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for called, accept in ((path, "*/*"), (f"/api/v1{path}x", "text/html")):
        answer = visitor.http.request(method, called, headers={"Accept": accept})
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_valid_token_gets_in_whatever_strangers_did(visitor: Visitor) -> None:
    """They may share the address: a NAT, a proxy. Logins that succeed do not count."""
    for _ in range(15):
        visitor.post("/login", {"token": "guess"})
        visitor.log_in("guess")
    for _ in range(12):
        assert visitor.log_in(Role.OPERATOR).status_code == HTTPStatus.OK
        visitor.http.cookies.clear()


def test_a_first_visit_is_at_most_100_kb(visitor: Visitor) -> None:
    """The page itself is not compressed, as it has secrets; its scripts and styles are."""
    page = _operator(visitor).get("/")
    paths = sorted(set(re.findall(r'"(/assets/[^"]+)"', page.text)))
    received = len(page.content)
    for path in paths:
        file, plain = visitor.get(path), visitor.get(path, **{"Accept-Encoding": "identity"})
        assert file.content == plain.content
        assert "Content-Encoding" not in plain.headers
        assert file.headers["Content-Encoding"] == "gzip"
        assert file.headers["Vary"] == "Accept-Encoding"
        received += file.num_bytes_downloaded
    assert len(paths) >= 3
    assert "Content-Encoding" not in page.headers
    assert received <= 100_000


def test_a_redirect_names_no_host_of_the_client(visitor: Visitor) -> None:
    """Another's cache or mail would keep it."""
    for path, target in (
        ("/login/", "/login"),
        ("/api/v1/runs/?limit=1", "/api/v1/runs?limit=1"),
        ("//evil.example/login/", None),
        ("/nothing/", None),
    ):
        url = httpx.URL(visitor.service.url).copy_with(raw_path=path.encode())
        answer = visitor.http.get(url, headers={"Host": "evil.example"}, follow_redirects=False)
        assert answer.headers.get("location") == target
        assert answer.status_code == (307 if target else 404)


def test_a_revoked_token_ends_its_session_at_once(visitor: Visitor) -> None:
    """The next request leads to the login."""
    file = visitor.service.folder / "tokens.json"
    visitor.log_in(tokens.create(file, Role.OPERATOR, "leaver"))
    assert visitor.get("/").url.path == "/"
    tokens.revoke(file, "leaver")
    assert visitor.get("/").url.path == "/login"


def test_an_expired_token_ends_its_session(visitor: Visitor) -> None:
    """Each request checks the expiry."""
    file, expires_at = visitor.service.folder / "tokens.json", time.time() + 1.5
    visitor.log_in(tokens.create(file, Role.VIEWER, f"guest{expires_at}", expires_at=expires_at))
    assert visitor.get("/").url.path == "/"
    time.sleep(max(0.0, expires_at - time.time()) + 0.1)
    assert visitor.get("/").url.path == "/login"


def test_logging_out_ends_the_session(visitor: Visitor) -> None:
    """A copy of the cookie is worthless afterwards."""
    _operator(visitor)
    cookies = dict(visitor.http.cookies)
    visitor.submit("/logout")
    visitor.http.cookies.update(cookies)
    assert visitor.get("/").url.path == "/login"


@pytest.mark.parametrize("url", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_a_login_does_not_redirect_to_another_site(visitor: Visitor, url: str) -> None:
    """Whatever `next` says."""
    page = visitor.log_in(Role.VIEWER, then=url)
    assert (page.url.host, page.url.path) == ("127.0.0.1", "/")


@pytest.mark.parametrize("csrf", ["", "0" * 64, "ü"])
def test_a_form_of_another_site_is_refused(visitor: Visitor, csrf: str) -> None:
    """Nothing changes."""
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
    """The server refuses what the page does not offer."""
    run = visitor.service.asking(HOSTS[0])
    visitor.log_in(Role.VIEWER)
    page = visitor.get(f"/runs/{run['id']}").text
    for word in ("Approve<", "Deny<", "Pause all actions", "/cancel"):
        assert word not in page
    for path in (f"/runs/{run['id']}/approve", "/pause", "/resume"):
        answer = visitor.submit(path, comment="let me", digest=run["plan"]["digest"])
        assert answer.status_code == HTTPStatus.FORBIDDEN
        visitor.get("/")
    assert visitor.service.until(run["id"], "awaiting_approval")


def test_an_approval_sent_twice_acts_once(visitor: Visitor) -> None:
    """The second answer is a conflict."""
    run = visitor.service.asking(HOSTS[1])
    before = len(visitor.service.aws.calls)
    page = _operator(visitor).get(f"/runs/{run['id']}")
    fields = {"csrf": visitor.csrf(), "digest": visitor.digest(), "comment": "go"}
    assert "Approve<" in page.text
    first = visitor.post(f"/runs/{run['id']}/approve", fields)
    again = visitor.post(f"/runs/{run['id']}/approve", fields)
    assert (first.status_code, again.status_code) == (HTTPStatus.OK, HTTPStatus.CONFLICT)
    story = visitor.service.until(run["id"], "succeeded")
    assert len(visitor.service.aws.calls) == before + 1
    assert (story["approval"]["by"], story["approval"]["comment"]) == ("operator", "go")
    # A reboot cannot be rolled back.
    assert "Roll back<" not in visitor.get(f"/runs/{run['id']}").text
    records = [
        record for record in visitor.service.audit(run["id"]) if "approved" in record["event"]
    ]
    assert [record["detail"]["origin"]["role"] for record in records] == ["operator"]


def test_only_the_plan_on_the_page_is_approved(visitor: Visitor) -> None:
    """The form contains its digest."""
    run = visitor.service.asking(HOSTS[2])
    _operator(visitor).get(f"/runs/{run['id']}")
    answer = visitor.submit(f"/runs/{run['id']}/approve", digest="0" * 64, comment="go")
    assert answer.status_code == HTTPStatus.CONFLICT
    assert f"the plan {run['plan']['digest'][:8]} (reboot_instance on {HOSTS[2]})" in answer.text
    assert visitor.service.until(run["id"], "awaiting_approval")


def test_every_run_action_requires_a_comment(visitor: Visitor) -> None:
    """Without one nothing changes."""
    run = visitor.service.asking(HOSTS[3])
    _operator(visitor).get(f"/runs/{run['id']}")
    answer = visitor.submit(f"/runs/{run['id']}/deny", comment="   ")
    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    visitor.get(f"/runs/{run['id']}")
    visitor.submit(f"/runs/{run['id']}/deny", comment="not now", digest=visitor.digest())
    story = visitor.service.until(run["id"], "cancelled")
    assert story["outcome"] == "denied by operator: not now"
    visitor.submit(f"/runs/{run['id']}/mark-wrong", comment="it should have")
    assert visitor.service.until(run["id"], "cancelled")["mark"]["right"] is False


def test_text_of_alerts_is_escaped(visitor: Visitor) -> None:
    """Labels and annotations are untrusted."""
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
        page = visitor.get(path).text
        assert "&lt;script&gt;alert(1)" in page
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "<b>" not in page


@pytest.mark.parametrize("path", _PAGES)
def test_a_page_has_security_headers(visitor: Visitor, path: str) -> None:
    """No inline code, no other origin, no frame, no caching."""
    answer = _operator(visitor).get(path)
    assert answer.status_code == HTTPStatus.OK
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["cache-control"] == "no-store"
    for inline in (" style=", " onclick=", '="javascript:', "<script>", "<style"):
        assert inline not in answer.text


def test_pausing_and_resuming_from_the_page(visitor: Visitor) -> None:
    """Every page shows who paused and why."""
    _operator(visitor).get("/")
    page = visitor.submit("/pause", comment="deploying <i>now</i>").text
    assert "Paused: no new actions" in page
    assert "deploying &lt;i&gt;now&lt;/i&gt;" in page
    assert visitor.service.start("acting", HOSTS[5], dry_run=True)["refusal"] == "paused"
    assert "Paused: no new actions" in visitor.get("/runs").text
    assert "Paused: no new actions" not in visitor.submit("/resume", comment="done").text
    record = visitor.service.audit()[0]
    assert (record["event"], record["actor"]) == ("resumed", "operator")
    assert record["detail"]["origin"]["role"] == "operator"


def test_a_poll_without_changes_gets_no_content(visitor: Visitor) -> None:
    """The page stays as it is, with the comment that is being typed."""
    run = visitor.service.asking(HOSTS[0])
    where = f"/runs/{run['id']}"
    page = _operator(visitor).get(where).text
    poll = page.split('hx-get="/runs/')[1].split('"')[0].replace("&amp;", "&")
    assert visitor.get(f"/runs/{poll}", **{"HX-Request": "true"}).status_code == 204
    visitor.get(where)
    visitor.submit(f"{where}/deny", comment="no", digest=visitor.digest())
    visitor.service.until(run["id"], "cancelled")
    answer = visitor.get(f"/runs/{poll}", **{"HX-Request": "true"})
    assert answer.status_code == HTTPStatus.OK
    assert "<html" not in answer.text
    assert "Right decision" in answer.text


def test_a_poll_without_a_session_leads_to_the_login(visitor: Visitor) -> None:
    """The header replaces the whole page."""
    answer = visitor.get("/", **{"HX-Request": "true"})
    assert answer.status_code == HTTPStatus.UNAUTHORIZED
    assert answer.headers["hx-redirect"] == "/login?next=/"


def test_a_link_from_another_site_is_reloaded(visitor: Visitor) -> None:
    """A browser sends a SameSite=Strict cookie only with the reload."""
    answer = visitor.get("/runs", **{"Sec-Fetch-Site": "cross-site"})
    assert (answer.status_code, answer.url.path) == (HTTPStatus.OK, "/runs")
    assert 'http-equiv="refresh"' in answer.text


def test_an_override_is_created_and_ended(visitor: Visitor) -> None:
    """Its matchers are written as in Alertmanager; quotes may contain commas."""
    _operator(visitor).get("/controls")
    fields = {"effect": "hold", "duration": "4 hours", "comment": "<em>migration</em>"}
    page = visitor.submit("/controls/overrides", matchers=f'asg="{GROUP}", a=~"x,y|"', **fields)
    assert page.status_code == HTTPStatus.OK
    assert "&lt;em&gt;migration" in page.text
    (override,) = visitor.service.call("GET", "/api/v1/overrides", Role.VIEWER).json()["items"]
    assert [matcher["value"] for matcher in override["matchers"]] == [GROUP, "x,y|"]
    assert override["created_by"] == "operator"
    assert visitor.service.start("acting", HOSTS[5], dry_run=True)["refusal"] == "override_hold"
    visitor.submit(f"/controls/overrides/{override['id']}/end", comment="done")
    assert visitor.service.call("GET", "/api/v1/overrides", Role.VIEWER).json()["items"] == []
    record = visitor.service.audit()[0]
    assert (record["event"], record["detail"]["comment"]) == ("override_ended", "done")


def test_a_hold_may_recur_and_an_override_may_ask(visitor: Visitor) -> None:
    """By the clock of a zone; outside of its times it does not apply."""
    _operator(visitor).get("/controls")
    fields = {"matchers": f'asg="{GROUP}"', "duration": "1 day", "comment": "nights"}
    zone = {"weekdays": "monday:sunday", "location": "Asia/Tokyo"}
    page = visitor.submit("/controls/overrides", effect="ask", **fields, **zone).text
    assert "monday:sunday" in page
    assert "Asia/Tokyo" in page
    started = visitor.service.start("acting", HOSTS[0])
    asked = visitor.service.until(started["id"], "awaiting_approval")
    assert visitor.service.approve(asked).status_code == HTTPStatus.OK
    visitor.service.until(asked["id"], "succeeded")
    visitor.service.forget()
    ends = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    matchers = [{"name": "asg", "value": GROUP}]
    body = {"matchers": matchers, "effect": "hold", "ends_at": ends, "comment": "x"}
    for years, refusal in (("2020", None), ("2000:2100", "override_hold")):
        held = body | {"time_intervals": [{"years": [years]}]}
        visitor.service.call("POST", "/api/v1/overrides", Role.OPERATOR, json=held)
        assert visitor.service.start("acting", HOSTS[5], dry_run=True)["refusal"] == refusal
    visitor.get("/controls")
    wrong = fields | {"effect": "hold", "start_time": "05:00", "end_time": "02:00"}
    answer = visitor.submit("/controls/overrides", **wrong)
    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY


@pytest.mark.parametrize("matchers", ["", "no matcher", 'a=""', 'a=~"("'])
def test_invalid_matchers_of_an_override_are_refused(visitor: Visitor, matchers: str) -> None:
    """As in the API, also matchers that match every alert."""
    _operator(visitor).get("/controls")
    fields = {"effect": "hold", "duration": "1 day", "comment": "why"}
    answer = visitor.submit("/controls/overrides", matchers=matchers, **fields)
    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert visitor.service.call("GET", "/api/v1/overrides", Role.VIEWER).json()["items"] == []


def test_a_cooldown_is_listed_and_ended(visitor: Visitor) -> None:
    """With the run that caused it."""
    run = visitor.service.until(visitor.service.start("acting", HOSTS[5])["id"], "succeeded")
    page = _operator(visitor).get("/controls").text
    assert HOSTS[5] in page
    assert run["id"] in page
    visitor.submit("/controls/cooldowns/end", target=HOSTS[5], comment="look again")
    assert visitor.service.call("GET", "/api/v1/cooldowns", Role.VIEWER).json()["items"] == []


def test_a_dry_run_from_the_page(visitor: Visitor) -> None:
    """It shows the plan and does not act."""
    before = len(visitor.service.aws.calls)
    _operator(visitor).get("/playbooks")
    page = visitor.submit("/playbooks/acting/run", target=HOSTS[5], comment="would it", how="dry")
    assert page.url.path.startswith("/runs/")
    assert "this is a dry run" in page.text
    assert len(visitor.service.aws.calls) == before
    visitor.get("/playbooks")
    answer = visitor.submit("/playbooks/acting/run", target="../etc", comment="x", how="dry")
    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY


def test_a_playbook_shows_its_track_record(visitor: Visitor) -> None:
    """The share of runs that recovered, among those that acted."""
    visitor.service.until(visitor.service.start("acting", HOSTS[4])["id"], "succeeded")
    page = _operator(visitor).get("/playbooks").text
    assert "100 % recovered" in page
    assert "No run has acted" in page


def test_a_playbook_has_a_page(visitor: Visitor) -> None:
    """What it matches, re-checks, does and allows; a link may name the target of a run by hand."""
    page = _operator(visitor).get(f"/playbooks/asking?target={HOSTS[2]}").text
    assert "asks first" in page
    assert "3 an hour and 7 a day on a target" in page
    assert f'value="{HOSTS[2]}"' in page
    tests = Path(__file__).parents[2] / "playbooks/tests/high-cpu.yaml"
    assert len(read_tests(tests)) > 3
    assert read_tests(tests.with_name("nothing.yaml")) == []


def test_a_playbook_shows_whether_it_is_right_and_helps(visitor: Visitor) -> None:
    """Incidents by answer, and what hold-outs say, each with its interval."""
    state = visitor.service.system.database
    run_id = visitor.service.start("growing", GROUP, dry_run=True)["id"]
    page = _operator(visitor).get("/playbooks/growing").text
    assert "Hold-outs" not in page
    told = {"at": time.time(), "operation": "RebootInstances", "who": "arn:aws:iam::1:user/<ann>"}
    answered = {"agreement": "heavier", "action": "reboot_instance", "calls": [told], "at": 1.0}
    with state.write() as connection:
        connection.execute(insert(comparisons).values(run_id=run_id, **answered))
    page = visitor.get(f"/runs/{run_id}").text
    assert "RebootInstances by arn:aws:iam::1:user/&lt;ann&gt;" in page
    assert "the service would have done something heavier" in page
    now = time.time()
    with state.write() as connection:
        row = dict(connection.execute(select(runs).where(runs.c.id == run_id)).mappings().one())
        for number in range(20):
            at = now - (number + 2) * 90_000
            arm = ("held", "acted")[number % 2]
            changed = {
                "id": f"{number:026}",
                "request": None,
                "dry_run": False,
                "state": "succeeded",
                "steps_begun": 1,
                "received_at": at,
                "recovered_since": at + 60,
                "holdout": {"arm": arm, "at": at, "wait_s": 600.0, "relapse_s": 0.0},
            }
            connection.execute(insert(runs).values(row | changed))
            found_by = {"alertname": "growing", "severity": "warning", "text": ""}
            connection.execute(insert(run_search).values(run_id=changed["id"], **found_by))
    try:
        page = visitor.get("/playbooks/growing").text
    finally:
        with state.write() as connection:
            connection.execute(delete(runs).where(runs.c.id < "1"))
            connection.execute(delete(run_search).where(run_search.c.run_id < "1"))
    assert f'20 of 20</strong> incidents of <code class="chip">{GROUP}</code>' in page
    assert "95 % interval 84 to 100 %" in page
    assert "10 incidents acted on, 10 waited 10 min" in page
    assert "Acting recovers <strong>100 %</strong> more of them" in page
    assert "<strong>540 s</strong> sooner" in page


def test_a_group_has_a_page(visitor: Visitor) -> None:
    """Members with their health, the budget, holds, and the runs about it."""
    visitor.service.hold(GROUP)
    run = visitor.service.until(visitor.service.start("acting", HOSTS[1])["id"], "refused")
    page = _operator(visitor).get(f"/groups/{GROUP}").text
    assert "6 of 6 members serve" in page
    assert all(host in page for host in HOSTS)
    assert "0 of 6; at most 1 may be, by default; at least 2 must serve" in page
    assert "“migration” by operator" in page
    assert run["id"] in page
    assert "AWS has no such group" in visitor.get("/groups/none").text or (
        "AWS did not answer" in visitor.page.text
    )


def test_the_audit_page_verifies_the_chain(visitor: Visitor) -> None:
    """It names the first record that was altered."""
    assert "The chain holds" in _operator(visitor).get("/audit/verified").text
    unguarded(visitor.service.system.database)
    with visitor.service.system.database.write() as connection:
        connection.execute(text("update audit set actor = actor || 'x' where seq = 3"))
    page = visitor.get("/audit?verify=1").text
    with visitor.service.system.database.write() as connection:
        connection.execute(text("update audit set actor = rtrim(actor, 'x') where seq = 3"))
    assert "The chain is broken</strong> at record 3, which was altered" in page


@pytest.mark.parametrize(
    "path",
    [
        "/runs?state=x",
        "/runs?since=x",
        "/runs?from=x",
        "/runs?refusal=x",
        "/playbooks/nothing",
        "/groups/%3Cb%3E",
        "/audit?cursor=x",
        "/audit?since=x",
        f"/runs/{'0' * 26}",
        "/runs/~",
    ],
)
def test_an_error_is_a_page(visitor: Visitor, path: str) -> None:
    """Not a JSON problem."""
    answer = _operator(visitor).get(path)
    assert answer.status_code in {HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.NOT_FOUND}
    assert answer.headers["content-type"].startswith("text/html")


def test_runs_are_filtered(visitor: Visitor) -> None:
    """By state, playbook, target and age."""
    run = visitor.service.until(visitor.service.start("acting", HOSTS[3])["id"], "succeeded")
    _operator(visitor)
    matching = f"/runs?state=succeeded&playbook=acting&target={HOSTS[3]}&since=1h"
    assert run["id"] in visitor.get(matching).text
    assert run["id"] not in visitor.get("/runs?state=failed").text
    assert run["id"] not in visitor.get("/runs?playbook=asking").text


def test_every_page_of_an_empty_console(tmp_path: Path) -> None:
    """Without any run, as a viewer."""
    with live(tmp_path) as service:
        visitor = Visitor(service=service)
        with visitor.http:
            assert visitor.log_in(Role.VIEWER).status_code == HTTPStatus.OK
            for path in _PAGES:
                assert visitor.get(path).status_code == HTTPStatus.OK, path


def test_with_tls_the_cookie_is_secure(visitor: Visitor) -> None:
    """Also where a proxy terminates TLS."""
    answer = visitor.get("/login", **{"X-Forwarded-Proto": "https"})
    assert answer.headers["set-cookie"].startswith("__Host-smartcloudops-login=")
    assert "; Secure" in answer.headers["set-cookie"]
    assert "Domain" not in answer.headers["set-cookie"]
    assert "strict-transport-security" in answer.headers


_ACCOUNTS = """
accounts:
  - {id: "111111111111", name: hub, regions: [us-east-1, eu-west-1]}
  - id: "222222222222"
    name: shop
    role_arn: arn:aws:iam::222222222222:role/smartcloudops
    regions: [us-east-1]
"""


def test_the_pages_of_several_accounts(tmp_path: Path) -> None:
    """Who does not answer is on every page; a pause, a hold and a list may be of one place."""
    (tmp_path / "accounts.yaml").write_text(_ACCOUNTS)
    silent = Emulator(Core(time.time))

    def trouble(*_: str) -> None:
        raise AwsError("AccessDenied", status=403)

    silent.trouble = trouble
    aws = {"111111111111": Emulator(Core(time.time)), "222222222222": silent}

    def aws_at(place: Place) -> Aws:
        return clients(aws[place.account])

    with live(tmp_path, accounts=tmp_path / "accounts.yaml", aws_at=aws_at) as service:
        visitor = Visitor(service=service)
        with visitor.http:
            service.system.accounts.run_once()
            page = _operator(visitor).get("/").text
            assert "222222222222/us-east-1: DescribeInstances: AccessDenied" in page
            assert "111111111111/us-east-1: " not in page
            place = {"account": "111111111111", "region": "eu-west-1"}
            page = visitor.submit("/pause", comment="migration", **place).text
            assert "Paused in 111111111111 eu-west-1" in page
            assert "Paused: no new actions" not in page
            page = visitor.submit("/resume", comment="done", **place).text
            assert "Paused in" not in page
            hold = {"effect": "hold", "duration": "1 day", "comment": "why", "matchers": ""}
            visitor.get("/controls")
            page = visitor.submit("/controls/overrides", **hold, **place).text
            assert 'account="111111111111"' in unescape(page)
            assert 'region="eu-west-1"' in unescape(page)
            assert visitor.get("/runs?account=111111111111").status_code == HTTPStatus.OK
            refused = visitor.get("/runs?account=333333333333")
            assert refused.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
