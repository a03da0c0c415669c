"""Who may approve a plan, and which: by its digest, by different people, also during a pause."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

import pytest

from receiver.http.access import tokens
from receiver.http.access.callers import Role
from tests.api_fixtures import GROUP, HOSTS, Live, live

_OTHER = "f" * 64


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("approvals")) as service:
        yield service


@pytest.fixture(scope="module")
def people(service: Live) -> Mapping[str, str]:
    """Tokens by name; two of them are alice's."""
    file = service.folder / "tokens.json"
    owners = {"alice": None, "alice-laptop": "alice", "bob": None}
    people = {
        name: tokens.create(file, Role.OPERATOR, name, owner=owner)
        for name, owner in owners.items()
    }
    service.application.state.tokens.refresh()
    return people


@pytest.fixture(autouse=True)
def _anew(service: Live) -> Iterator[None]:
    service.aws.calls.clear()
    yield
    service.forget()


def _waiting(service: Live, playbook: str, target: str) -> dict[str, Any]:
    return service.until(service.start(playbook, target)["id"], "awaiting_approval")


def _answer(
    service: Live, run: Mapping[str, Any], secret: str, *, verb: str = "approve", plan: str = ""
) -> Any:
    body = {"comment": "go", "plan": plan or run["plan"]["digest"]}
    headers = {"Authorization": f"Bearer {secret}"}
    return service.call("POST", f"/api/v1/runs/{run['id']}/{verb}", headers=headers, json=body)


def test_a_plan_that_two_must_approve(service: Live, people: Mapping[str, str]) -> None:
    """The requester does not count, and two tokens of one person count once."""
    run = _waiting(service, "paired", HOSTS[0])
    assert run["plan"]["approvals"]["people"] == 2
    own = service.approve(run)
    assert own.status_code == HTTPStatus.FORBIDDEN
    assert "operator requested the run" in own.json()["detail"]
    first = _answer(service, run, people["alice"])
    assert (first.status_code, first.json()["state"]) == (HTTPStatus.ACCEPTED, "awaiting_approval")
    assert "1 more" in first.json()["answer"]
    again = _answer(service, run, people["alice-laptop"])
    assert again.status_code == HTTPStatus.ACCEPTED
    assert [approval["by"] for approval in again.json()["approvals"]] == ["alice"]
    assert service.aws.calls == []
    second = _answer(service, run, people["bob"])
    assert second.status_code == HTTPStatus.OK
    assert second.json()["answer"].startswith(f"approved reboot_instance on {HOSTS[0]}")
    ended = service.until(run["id"], "succeeded")
    assert [approval["by"] for approval in ended["approvals"]] == ["alice", "bob"]
    assert all(approval["at"].endswith("Z") for approval in ended["approvals"])
    assert len(service.aws.calls) == 1


def test_the_report_names_the_rule_that_was_met(service: Live, people: Mapping[str, str]) -> None:
    """And whether it was."""
    met, open_ = _waiting(service, "paired", HOSTS[1]), _waiting(service, "paired", HOSTS[2])
    for name in ("alice", "bob"):
        _answer(service, met, people[name])
    _answer(service, open_, people["alice"])
    service.until(met["id"], "succeeded")
    report = service.call("GET", "/api/v1/report", Role.VIEWER)
    assert report.status_code == HTTPStatus.OK, report.text
    rows = {row["run"]: row for row in report.json()["approvals"]}
    rule = "2 people, none of whom requested the run, by the playbook"
    assert (rows[met["id"]]["rule"], rows[met["id"]]["rule_met"]) == (rule, True)
    assert (rows[open_["id"]]["rule"], rows[open_["id"]]["rule_met"]) == (rule, False)
    _answer(service, open_, people["bob"], verb="deny")


def test_two_who_approve_at_once_are_both_counted(service: Live, people: Mapping[str, str]) -> None:
    """The count and the approval are one transaction."""
    run = _waiting(service, "paired", HOSTS[3])
    with ThreadPoolExecutor(2) as pool:
        secrets = (people["alice"], people["bob"])
        codes = pool.map(lambda secret: _answer(service, run, secret).status_code, secrets)
        assert sorted(codes) == [HTTPStatus.OK, HTTPStatus.ACCEPTED]
    service.until(run["id"], "succeeded")
    assert len(service.aws.calls) == 1


@pytest.mark.parametrize("verb", ["approve", "deny", "cancel"])
def test_another_plan_by_then_is_a_conflict_that_shows_both(
    service: Live, people: Mapping[str, str], verb: str
) -> None:
    """Nothing is approved, denied or cancelled by an answer on a plan that has gone."""
    run = service.asking(HOSTS[4])
    refused = _answer(service, run, people["bob"], verb=verb, plan=_OTHER)
    assert refused.status_code == HTTPStatus.CONFLICT
    plans = refused.json()["plans"]
    current = {key: run["plan"][key] for key in ("digest", "action", "target", "params")}
    assert plans == {"given": {"digest": _OTHER}, "current": current}
    path = f"/api/v1/runs/{run['id']}/{verb}"
    if verb != "cancel":
        nameless = service.call("POST", path, Role.OPERATOR, json={"comment": "as I saw it"})
        assert nameless.status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    assert service.until(run["id"], "awaiting_approval")["approvals"] == []
    assert _answer(service, run, people["bob"], verb="deny").status_code == HTTPStatus.OK


def test_nobody_is_asked_for_what_cannot_be_carried_out(service: Live) -> None:
    """A group at its maximum cannot grow: the run is refused by what AWS shows, a dry run too."""
    group = service.aws.world.groups[GROUP]
    maximum, group.maximum = group.maximum, group.desired
    try:
        for dry_run in (False, True):
            run = service.start("growing-slowly", GROUP, dry_run=dry_run)
            refused = service.until(run["id"], "refused", "awaiting_approval")
            assert refused["refusal"] == "not_feasible"
            assert "at its bound" in refused["outcome"]
            assert refused["gates"][-1]["name"] == "feasible"
    finally:
        group.maximum = maximum
    assert service.aws.calls == []


def test_a_plan_approved_during_a_pause_waits_for_its_end(service: Live) -> None:
    """It is approved once, and acts once the service is resumed."""
    run = service.asking(HOSTS[5])
    service.call("POST", "/api/v1/pause", Role.OPERATOR, json={"comment": "deploying"})
    try:
        approved = service.approve(run)
        assert approved.status_code == HTTPStatus.ACCEPTED
        assert "the service is paused" in approved.json()["answer"]
        assert (approved.json()["state"], approved.json()["outcome"]) == ("awaiting_approval", None)
        assert service.aws.calls == []
    finally:
        service.call("POST", "/api/v1/resume", Role.OPERATOR, json={"comment": "deployed"})
    service.until(run["id"], "succeeded")
    assert len(service.aws.calls) == 1
