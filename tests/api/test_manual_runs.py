"""A playbook that a person runs by hand goes through the gates that an alert goes through."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from demo.aws.world import AwsError
from receiver.http.access.callers import Role
from receiver.playbooks.loader import load
from receiver.runs import feedback
from receiver.runs.feedback import FeedbackSource
from receiver.runs.manual_runs import NotPossibleError, labels_of
from tests.api_fixtures import GROUP, HOSTS, PLAYBOOK, Live, live


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with live(tmp_path_factory.mktemp("by-hand")) as service:
        yield service


@pytest.fixture(autouse=True)
def _anew(service: Live) -> Iterator[None]:
    service.aws.calls.clear()
    service.prometheus.value = "1"
    yield
    service.forget()


def _say(service: Live, path: str, **body: object) -> Any:
    return service.call("POST", path, Role.OPERATOR, json={"comment": "why", **body})


def _operations(service: Live) -> list[tuple[str, str]]:
    return [(call.operation, call.target) for call in service.aws.calls]


def test_a_run_by_hand_acts_once_and_says_who_asked(service: Live) -> None:
    """With comment, role and address on record."""
    begun = service.start("acting", HOSTS[0])
    run = service.until(begun["id"], "succeeded")
    assert _operations(service) == [("RebootInstances", HOSTS[0])]
    assert (run["asked"]["by"], run["asked"]["role"]) == ("operator", "operator")
    assert (run["asked"]["comment"], run["asked"]["dry_run"]) == ("try", False)
    assert (run["target"], run["group"], run["playbook"]) == (HOSTS[0], GROUP, "acting")
    assert [gate["name"] for gate in run["gates"] if not gate["passed"]] == []
    assert {"paused", "override", "free", "proven", "verdict", "blast_radius"} <= {
        gate["name"] for gate in run["gates"]
    }
    (started,) = [record for record in service.audit(run["id"]) if "started" in record["event"]]
    origin = started["detail"]["origin"]
    assert (started["actor"], origin["address"], origin["role"]) == (
        "operator",
        "127.0.0.1",
        "operator",
    )


def test_a_dry_run_shows_the_plan_and_does_nothing(service: Live) -> None:
    """Decided by the time of the answer, and on record as observed."""
    answer = service.start("acting", HOSTS[1], dry_run=True)
    assert (answer["state"], answer["plan"]["action"]) == ("observed", "reboot_instance")
    assert "dry run" in answer["outcome"]
    assert _operations(service) == []
    held = service.call("GET", "/api/v1/cooldowns", Role.VIEWER).json()["items"]
    assert held == []


def test_what_cannot_be_read_is_counted(service: Live) -> None:
    """By who did not answer, so that somebody is told; the run itself is refused."""
    series = 'smartcloudops_unreadable_total{source="aws"}'
    assert f"{series} 0.0" in service.call("GET", "/metrics").text

    def denied(*_: str) -> None:
        raise AwsError("UnauthorizedOperation", status=403)

    trouble, service.aws.trouble = service.aws.trouble, denied
    try:
        answer = service.start("acting", HOSTS[1], dry_run=True)
    finally:
        service.aws.trouble = trouble
    assert answer["refusal"] == "state_unknown"
    assert "DescribeInstances: UnauthorizedOperation" in answer["outcome"]
    text = service.call("GET", "/metrics").text
    assert f"{series} 0.0" not in text
    assert 'smartcloudops_unreadable_total{source="records"} 0.0' in text


def test_location_says_where_the_run_is(service: Live) -> None:
    """As HTTP has it for what was created."""
    body = {"playbook": "acting", "target": HOSTS[1], "comment": "try", "dry_run": True}
    answer = service.call("POST", "/api/v1/runs", Role.OPERATOR, json=body)
    run = service.call("GET", answer.headers["location"], Role.VIEWER)
    assert run.json()["id"] == answer.json()["id"]


def test_a_pause_stops_it(service: Live) -> None:
    """The kill switch is for people as well."""
    _say(service, "/api/v1/pause")
    try:
        for dry_run in (True, False):
            begun = service.start("acting", HOSTS[1], dry_run=dry_run)
            assert service.until(begun["id"], "refused")["refusal"] == "paused"
    finally:
        _say(service, "/api/v1/resume")
    assert _operations(service) == []


def test_metrics_that_show_nothing_stop_it(service: Live) -> None:
    """A person may be mistaken, too."""
    service.prometheus.value = "0"
    begun = service.start("acting", HOSTS[1])
    assert service.until(begun["id"], "refused")["refusal"] == "verdict_refuted"
    service.prometheus.value = None
    begun = service.start("acting", HOSTS[1])
    assert service.until(begun["id"], "refused")["refusal"] == "verdict_undecided"
    assert _operations(service) == []


def test_a_cooldown_and_the_blast_radius_stop_it(service: Live) -> None:
    """Twice the same, and too few others that serve."""
    service.until(service.start("acting", HOSTS[2])["id"], "succeeded")
    again = service.until(service.start("acting", HOSTS[2])["id"], "refused")
    assert again["refusal"] == "cooldown"
    group = service.aws.world.groups[GROUP]
    try:
        for instance_id in HOSTS[3:]:
            group.members[instance_id].health = "Unhealthy"
        harmful = service.until(service.start("acting", HOSTS[0])["id"], "refused")
        assert harmful["refusal"] in {"blast_radius", "min_healthy"}
    finally:
        for instance_id in HOSTS[3:]:
            group.members[instance_id].health = "Healthy"
    assert _operations(service) == [("RebootInstances", HOSTS[2])]


def test_a_hold_on_the_group_stops_it(service: Live) -> None:
    """Though whoever asked named the instance alone."""
    override = service.hold(GROUP)
    try:
        begun = service.start("acting", HOSTS[1])
        assert service.until(begun["id"], "refused")["refusal"] == "override_hold"
    finally:
        service.call("DELETE", f"/api/v1/overrides/{override['id']}?comment=over", Role.OPERATOR)
    ended = next(record for record in service.audit() if record["event"] == "override_ended")
    assert ended["detail"]["comment"] == "over"


def test_asking_does_not_make_a_storm(service: Live) -> None:
    """What people ask for is no alert of the group."""
    for instance_id in HOSTS[:4]:
        service.start("acting", instance_id, dry_run=True)
    assert service.start("acting", HOSTS[4], dry_run=True)["state"] == "observed"


@pytest.mark.parametrize(
    "changes",
    [
        {"playbook": "nothing"},
        {"target": "*"},
        {"target": ""},
        {"target": f"{HOSTS[0]},{HOSTS[1]}"},
        {"comment": " "},
        {"comment": None},
        {"dry_run": "perhaps"},
        {"more": 1},
    ],
)
def test_what_cannot_be_asked_for_is_refused_in_a_line(
    service: Live, changes: dict[str, object]
) -> None:
    """And makes no run."""
    before = service.call("GET", "/api/v1/runs?limit=1", Role.VIEWER).json()["items"]
    body = {"playbook": "acting", "target": HOSTS[0], "comment": "try"} | changes
    answer = service.call("POST", "/api/v1/runs", Role.OPERATOR, json=body)
    assert answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY, answer.text
    assert "\n" not in answer.json()["detail"]
    assert service.call("GET", "/api/v1/runs?limit=1", Role.VIEWER).json()["items"] == before


def test_a_plan_that_was_denied_says_by_whom(service: Live) -> None:
    """And nothing was done."""
    run = service.asking(HOSTS[3])
    path, plan = f"/api/v1/runs/{run['id']}/deny", run["plan"]["digest"]
    denied = _say(service, path, plan=plan).json()
    assert denied["answer"] == f"denied reboot_instance on {HOSTS[3]} (plan {plan[:8]})"
    assert (denied["state"], denied["approval"]["denied"]) == ("cancelled", True)
    assert denied["approval"]["by"] == "operator"
    assert denied["approval"]["at"].endswith("Z")
    assert _operations(service) == []


def test_a_mark_is_kept_counted_and_a_label(service: Live) -> None:
    """The last mark counts, more than the approval; what is not over cannot be marked."""
    run = service.asking(HOSTS[3])
    path = f"/api/v1/runs/{run['id']}/mark"
    assert _say(service, path, right=True).status_code == HTTPStatus.CONFLICT
    service.approve(run)
    service.until(run["id"], "succeeded")
    with service.system.database.read() as connection:
        (approved,) = feedback.list_feedback(connection, limit=1)
    assert (approved.run_id, approved.source, approved.right) == (
        run["id"],
        FeedbackSource.APPROVAL,
        True,
    )
    assert _say(service, path, right=True).json()["mark"]["right"] is True
    marked = _say(service, path, right=False, comment="it was a batch job").json()
    assert (marked["mark"]["right"], marked["mark"]["by"]) == (False, "operator")
    assert _say(service, path).status_code == HTTPStatus.UNPROCESSABLE_ENTITY
    nobody = _say(service, f"/api/v1/runs/{'0' * 26}/mark", right=True)
    assert nobody.status_code == HTTPStatus.NOT_FOUND
    metrics = service.call("GET", "/metrics").text
    assert 'smartcloudops_marks_total{mark="wrong",playbook="asking"} 1.0' in metrics
    with service.system.database.read() as connection:
        label, *others = feedback.list_feedback(connection, limit=100)
        older = feedback.list_feedback(connection, before=label.run_id, since=0.0, limit=100)
    assert (label.run_id, label.right, label.source) == (run["id"], False, FeedbackSource.MARK)
    assert (label.verdict, label.target, label.comment) == (
        "confirmed",
        HOSTS[3],
        "it was a batch job",
    )
    assert list(older) == others
    assert {label.source for label in others} <= {FeedbackSource.DENIAL}
    events = [record["event"] for record in service.audit(run["id"])]
    assert events.count("run_marked_by_a_person") == 2


def test_of_two_who_approve_at_once_one_is_too_late(service: Live) -> None:
    """And the step is taken once."""
    run = service.asking(HOSTS[4])
    with ThreadPoolExecutor(8) as pool:
        codes = list(pool.map(lambda _: service.approve(run).status_code, range(8)))
    assert sorted(codes) == [HTTPStatus.OK] + [HTTPStatus.CONFLICT] * 7
    service.until(run["id"], "succeeded")
    assert _operations(service) == [("RebootInstances", HOSTS[4])]


def test_a_plan_whose_target_has_changed_is_not_what_was_approved(service: Live) -> None:
    """The id is the same, and the host another one since: what was seen counts."""
    run = service.asking(HOSTS[5])
    service.aws.world.instances[HOSTS[5]].launched_at += 60
    service.approve(run)
    assert service.until(run["id"], "refused")["refusal"] == "plan_changed"
    assert _operations(service) == []


def test_a_playbook_for_one_group_is_for_no_other(tmp_path: Path) -> None:
    """What its matchers name stands in the labels; a target against them cannot be asked for."""
    text = PLAYBOOK.replace("NAME", "one").replace("STEP", "{action: reboot_instance}")
    both = text.replace("'alertname=\"one\"'", "'alertname=\"one\"', 'asg=\"web-asg\"'")
    (tmp_path / "one.yaml").write_text(both)
    (playbook,) = load(tmp_path).items
    assert labels_of(playbook, "web-asg") == {"alertname": "one", "asg": "web-asg"}
    labels = labels_of(playbook, HOSTS[0])
    assert labels == {"alertname": "one", "asg": "web-asg", "instance_id": HOSTS[0]}
    with pytest.raises(NotPossibleError, match="takes only alerts with"):
        labels_of(playbook, "api-asg")
