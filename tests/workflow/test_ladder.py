"""A ladder climbs only on evidence: the step below ran to its end, and the target is still ill."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError
from structlog.testing import capture_logs

from actions.execution import claims, rate_limits
from actions.execution.rate_limits import Counted
from actions.place import HOME
from demo.aws.hardness import Hardness
from demo.aws.world import AwsError, target_group_arn
from models.inference.verdict import Answer
from receiver.runs.model import State
from receiver.settings import Mode
from tests.end_to_end.whole_fixtures import Whole, verdict

_PLAYBOOK = """
name: high-cpu
match: ['alertname="HighCPU"']
mode: auto
steps:
  - action: restart_service
    params: {service: app}
  - action: reboot_instance
  - action: replace_instance
verify: {expr: recovered, for: 10s, timeout: 60s}
"""


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    whole = Whole(tmp_path, playbook=_PLAYBOOK, recovered="0")
    yield whole
    whole.close()


def _changes(whole: Whole) -> list[str]:
    return [call.operation for call in whole.aws.calls]


def _refuse(whole: Whole, operation: str, *codes: str, status: int = 400) -> None:
    """AWS refuses the operation with these codes, one after the other; then it does it."""
    left = list(codes)

    def trouble(name: str, when: str) -> None:
        if (name, when) == (operation, "before") and left:
            raise AwsError(left.pop(0), status=status)

    whole.aws.trouble = trouble


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("InvalidDocument", "correct the step's parameters"),
        ("NotAuthorized", "`smartcloudops iam-policy`"),
        ("RequestTimeTooSkewed", "set the clock"),
        ("DocumentLimitExceeded", "raise the quota"),
    ],
)
def test_a_refusal_calls_a_person_and_says_what_to_do(whole: Whole, code: str, remedy: str) -> None:
    """No heavier step follows, and the next run on this target is not limited by this one."""
    _refuse(whole, "SendCommand", *[code] * 9)
    whole.deliver(whole.group()[0])
    whole.pass_time(300)
    run = whole.only()
    assert (run.state, _changes(whole)) == (State.FAILED, [])
    assert code in (run.outcome or "")
    assert remedy in (run.outcome or "")


@pytest.mark.parametrize("code", ["SlowDown", "ThrottledException", "EC2ThrottledException"])
def test_a_throttled_step_is_taken_once_aws_answers(whole: Whole, code: str) -> None:
    """Over a minute, on the same rung, and without using up the three attempts an hour."""
    _refuse(whole, "SendCommand", *[code] * 4)
    whole.deliver(whole.group()[0])
    whole.pass_time(100)
    assert _changes(whole) == ["SendCommand"]
    whole.recovered = "1"
    whole.pass_time(60)
    assert whole.only().state is State.SUCCEEDED


def test_a_recovery_before_a_step_ran_is_a_recovery(whole: Whole) -> None:
    """The alert is over while AWS is still busy: nobody is called, and no cooldown stays."""
    _refuse(whole, "SendCommand", *["Throttling"] * 99)
    whole.deliver(target := whole.group()[0])
    whole.pass_time(30)
    whole.verdicts[target] = verdict(Answer.REFUTED)
    whole.deliver(target, firing=False)
    whole.pass_time(120)
    assert (whole.only().state, _changes(whole)) == (State.RESOLVED, [])
    with whole.state.read() as connection:
        assert claims.claims_on(connection, HOME, target)[target].cooldown_until <= whole.now


def test_a_step_waits_while_aws_is_away(whole: Whole) -> None:
    """First it is busy, then it does not answer at all; the step is taken when it is back."""
    _refuse(whole, "SendCommand", "Throttling")
    whole.deliver(whole.group()[0])
    whole.work()
    whole.aws.trouble = _away
    whole.pass_time(120)
    assert whole.only().state is State.DECIDING
    whole.aws.trouble = lambda *_: None
    whole.pass_time(20)
    assert _changes(whole) == ["SendCommand"]


def test_a_step_does_not_wait_for_ever(whole: Whole) -> None:
    """After ten minutes the run ends like one that AWS never let begin."""
    _refuse(whole, "SendCommand", "Throttling")
    whole.deliver(target := whole.group()[0])
    whole.work()
    whole.aws.trouble = _away
    for _ in range(3):
        whole.pass_time(220)
        whole.deliver(target)
    run = next(run for run in whole.runs() if run.steps_begun)
    assert (run.state, run.refusal) == (State.REFUSED, "state_unknown")


def test_a_step_that_aws_could_not_be_asked_about_uses_up_nothing(whole: Whole) -> None:
    """It was claimed and never sent: no attempt, no cooldown; a repeat of the alert acts."""

    def trouble(operation: str, when: str) -> None:
        if whole.only().state is State.ACTING:
            _away(operation, when)

    whole.aws.trouble = trouble
    whole.deliver(target := whole.group()[0])
    with capture_logs():
        whole.pass_time(60)
    assert whole.only().refusal == "state_unknown"
    with whole.state.read() as connection:
        counted = rate_limits.count(
            connection,
            Counted(place=HOME, target=target, group="web-asg", playbook="high-cpu"),
            whole.now,
        )
        assert claims.list_active(connection, whole.now) == []
    assert {*vars(counted).values()} == {0}


def _away(operation: str, when: str) -> None:
    del operation, when
    raise EndpointConnectionError(endpoint_url="x")


def test_a_step_that_is_throttled_for_long_calls_a_person(whole: Whole) -> None:
    _refuse(whole, "SendCommand", *["Throttling"] * 99)
    target = whole.group()[0]
    for _ in range(4):
        whole.deliver(target)
        whole.pass_time(200)
    assert (whole.only().state, _changes(whole)) == (State.FAILED, [])


def test_a_breaker_does_not_count_steps_that_never_ran(whole: Whole) -> None:
    """Three such runs in a row would open it."""
    _refuse(whole, "SendCommand", *["InvalidDocument"] * 3)
    hosts = whole.group()
    for host in hosts[:4]:
        whole.deliver(host)
        whole.pass_time(400)
    assert _changes(whole)[:1] == ["SendCommand"]


@pytest.mark.parametrize(
    "status",
    [("Cancelled", "Cancelled"), ("TimedOut", "DeliveryTimedOut"), ("Failed", "Terminated")],
)
def test_a_command_that_never_ran_leads_to_no_reboot(whole: Whole, status: tuple[str, str]) -> None:
    """A person cancelled it, or the agent was busy with something else."""
    _command_ends(whole, *status)
    whole.deliver(whole.group()[0])
    whole.pass_time(300)
    assert (whole.only().state, _changes(whole)) == (State.FAILED, ["SendCommand"])


def test_a_command_that_ran_and_failed_leads_to_a_reboot(whole: Whole) -> None:
    _command_ends(whole, "Failed", "Failed")
    whole.deliver(whole.group()[0])
    whole.pass_time(50)
    assert _changes(whole) == ["SendCommand", "RebootInstances"]


def test_a_step_whose_effect_cannot_be_seen_leads_to_no_heavier_one(whole: Whole) -> None:
    """Prometheus has no answer until the time is up."""
    whole.deliver(whole.group()[0])
    whole.work()
    whole.recovered = None
    whole.pass_time(300)
    run = whole.only()
    assert (run.state, _changes(whole)) == (State.FAILED, ["SendCommand"])
    assert "unknown whether restart_service helped" in (run.outcome or "")


def _command_ends(whole: Whole, status: str, details: str) -> None:
    """The first command ends so, whatever its host does."""

    def on_call(call: object) -> None:
        del call
        for command in whole.aws.world.commands:
            command["Status"], command["StatusDetails"] = status, details

    whole.aws.on_call = on_call


def test_a_host_that_hangs_has_time_for_its_hard_reboot(whole: Whole) -> None:
    """EC2 waits four minutes for a shutdown; the playbook allows one."""
    _command_ends(whole, "Failed", "Failed")
    whole.deliver(whole.group()[0])
    whole.pass_time(50 + 240 + 30)
    assert _changes(whole) == ["SendCommand", "RebootInstances"]
    whole.recovered = "1"
    whole.pass_time(20)
    assert whole.only().state is State.SUCCEEDED


def test_a_host_that_is_ill_after_its_hard_reboot_is_replaced(whole: Whole) -> None:
    _command_ends(whole, "Failed", "Failed")
    whole.deliver(whole.group()[0])
    whole.pass_time(420)
    assert _changes(whole)[-1] == "TerminateInstanceInAutoScalingGroup"


@pytest.mark.parametrize(("booted", "climbs"), [("0", False), (None, True)])
def test_a_reboot_that_did_not_happen_leads_to_no_replacement(
    whole: Whole, booted: str | None, *, climbs: bool
) -> None:
    """EC2 took the call, but the host's metrics show that it runs on; one that is down has none."""
    _command_ends(whole, "Failed", "Failed")
    whole.booted = booted
    whole.deliver(whole.group()[0])
    whole.pass_time(600)
    replaced = "TerminateInstanceInAutoScalingGroup" in _changes(whole)
    assert replaced is climbs
    assert climbs or "unknown whether reboot_instance helped" in (whole.only().outcome or "")


def test_a_command_that_runs_for_long_is_waited_for(whole: Whole) -> None:
    """The timeout of the playbook begins once AWS is done."""
    _command_ends(whole, "InProgress", "InProgress")
    whole.deliver(whole.group()[0])
    whole.pass_time(400)
    assert (whole.only().state, _changes(whole)) == (State.VERIFYING, ["SendCommand"])
    _, command = whole.aws.world.commands
    command["Status"] = command["StatusDetails"] = "Success"
    whole.pass_time(30)
    assert _changes(whole) == ["SendCommand"]
    whole.recovered = "1"
    whole.pass_time(30)
    assert whole.only().state is State.SUCCEEDED


def test_a_command_without_an_end_calls_a_person(whole: Whole) -> None:
    _command_ends(whole, "InProgress", "InProgress")
    whole.deliver(whole.group()[0])
    whole.pass_time(480 + 600 + 30)
    run = whole.only()
    assert (run.state, _changes(whole)) == (State.FAILED, ["SendCommand", "CancelCommand"])
    assert "under way" in (run.outcome or "")


def test_a_command_that_lasts_too_long_is_cancelled(whole: Whole) -> None:
    """AWS says when it expires: a minute to reach the agent, and the document's five."""
    _command_ends(whole, "InProgress", "InProgress")
    whole.deliver(whole.group()[0])
    whole.work()
    _, command = whole.aws.world.commands
    command["StartedAt"] = "2027-01-15T08:00:00Z"
    until = whole.only().verify_until or 0
    assert until == pytest.approx(whole.now + 60 + 300 + 60 + 60)
    whole.aws.on_call = lambda _: None
    whole.pass_time(until - whole.now + 5)
    assert _changes(whole) == ["SendCommand", "CancelCommand"]
    whole.pass_time(100)
    run = whole.only()
    assert (run.state, _changes(whole)) == (State.FAILED, ["SendCommand", "CancelCommand"])
    assert "unknown whether restart_service on" in (run.outcome or "")


def test_a_command_that_is_cancelled_may_have_helped(whole: Whole) -> None:
    _command_ends(whole, "InProgress", "InProgress")
    whole.deliver(whole.group()[0])
    whole.work()
    _, command = whole.aws.world.commands
    command["StartedAt"] = "2027-01-15T08:00:00Z"
    whole.aws.on_call = lambda _: None
    whole.pass_time(485)
    whole.recovered = "1"
    whole.pass_time(30)
    assert (whole.only().state, _changes(whole)[1:]) == (State.SUCCEEDED, ["CancelCommand"])


def test_a_target_drains_as_long_as_its_own_group_says(tmp_path: Path) -> None:
    playbook = _PLAYBOOK.replace("restart_service\n    params: {service: app}", "deregister_target")
    whole = Whole(tmp_path, playbook=playbook, recovered="0")
    members = whole.group()
    arn = target_group_arn("web")
    whole.aws.world.attach(whole.aws.world.groups["web-asg"], arn)
    whole.aws.world.target_groups[arn].delay_s = 1_200
    whole.deliver(members[0])
    whole.work()
    assert whole.only().verify_until == pytest.approx(whole.now + 1_200 + 60 + 60)
    whole.close()


def test_samples_from_before_a_step_make_nothing_worse(tmp_path: Path) -> None:
    """Prometheus shows them until its next scrapes."""
    playbook = _PLAYBOOK.replace("{expr: recovered,", "{expr: recovered, worse: degraded,")
    whole = Whole(tmp_path, playbook=playbook, recovered="1", scraped_s=60)
    whole.deliver(whole.group()[0])
    whole.pass_time(50)
    assert (whole.only().state, _changes(whole)) == (State.VERIFYING, ["SendCommand"])
    whole.close()


def test_a_target_that_is_gone_is_not_waited_for(tmp_path: Path) -> None:
    """A member may take an hour to leave; one that somebody terminated never arrives."""
    playbook = _PLAYBOOK.replace("restart_service\n    params: {service: app}", "enter_standby")
    whole = Whole(tmp_path, playbook=playbook, recovered="0")
    whole.deliver(target := whole.group()[0])
    whole.work()
    del whole.aws.world.groups["web-asg"].members[target]
    whole.pass_time(120)
    assert (whole.only().state, _changes(whole)) == (State.FAILED, ["EnterStandby"])
    whole.close()


@pytest.mark.parametrize("scraped_s", [5, 30, 60])
def test_a_recovery_is_seen_at_every_scrape_interval(whole: Whole, scraped_s: float) -> None:
    """The timeout is a minute, and so is Prometheus' default interval."""
    whole.scraped_s = scraped_s
    whole.deliver(whole.group()[0])
    whole.work()
    whole.recovered = "1"
    whole.pass_time(3 * scraped_s + 60)
    assert (whole.only().state, _changes(whole)) == (State.SUCCEEDED, ["SendCommand"])


@pytest.mark.parametrize("recovered", ["0", "1"])
def test_samples_that_lag_lead_to_nothing(whole: Whole, recovered: str) -> None:
    """Neither a success nor a reboot: they show the host as it was before the step."""
    whole.lag_s = 600
    whole.recovered = recovered
    whole.deliver(whole.group()[0])
    whole.pass_time(300)
    assert (whole.only().state, _changes(whole)) == (State.FAILED, ["SendCommand"])
    assert "cannot tell" in (whole.only().outcome or "")


@pytest.mark.parametrize(
    "matcher",
    [
        'instance_id="$instance_id"',
        "instance_id='$instance_id'",
        'instance_id=~"$instance_id"',
        'job="web",instance_id = "$instance_id"',
        "instance_id=`$instance_id`",
        "$selector",
    ],
)
def test_a_condition_that_no_sibling_meets_shows_no_fault(tmp_path: Path, matcher: str) -> None:
    """No traffic to anybody: that there is none after the restart says nothing of the restart."""
    expr = json.dumps(f"sum(rate(requests_total{{{matcher}}}[20s])) > bool 0")
    whole = Whole(tmp_path, playbook=_PLAYBOOK.replace("recovered", expr), recovered="0")
    whole.deliver(whole.group()[0])
    whole.pass_time(300)
    assert (whole.only().state, _changes(whole)) == (State.FAILED, ["SendCommand"])
    whole.close()


def test_a_command_that_failed_is_no_evidence_of_a_fault(tmp_path: Path) -> None:
    """Nobody has traffic: whether the target is ill is as unknown as after one that succeeded."""
    expr = json.dumps('sum(rate(requests_total{instance_id="$instance_id"}[20s])) > bool 0')
    whole = Whole(tmp_path, playbook=_PLAYBOOK.replace("recovered", expr), recovered="0")
    _command_ends(whole, "Failed", "Failed")
    whole.deliver(whole.group()[0])
    whole.pass_time(300)
    assert (whole.only().state, _changes(whole)) == (State.FAILED, ["SendCommand"])
    whole.close()


@pytest.mark.parametrize(("loaded", "state"), [("0", State.FAILED), ("1", State.SUCCEEDED)])
def test_a_recovery_without_load_proves_nothing(tmp_path: Path, loaded: str, state: State) -> None:
    """The balancer sends it nothing yet, so it is well: whether it would be is unknown."""
    verify = _PLAYBOOK.replace("{expr: recovered,", "{expr: recovered, under_load: 50%,")
    whole = Whole(tmp_path, playbook=verify, recovered="1", loaded=loaded)
    whole.deliver(whole.group()[0])
    whole.pass_time(300)
    assert (whole.only().state, _changes(whole)) == (state, ["SendCommand"])
    assert ("cannot tell" in (whole.only().outcome or "")) is (state is State.FAILED)
    whole.close()


@pytest.mark.parametrize("by_hand", [False, True])
def test_what_a_run_keeps_suspended_is_its_own_doing(tmp_path: Path, *, by_hand: bool) -> None:
    """It takes its next step; a person who suspends both keeps the group as it is."""
    lease = "before: [{action: suspend_processes, params: {processes: [Launch, Terminate]}}]"
    playbook = _PLAYBOOK.replace("params: {service: app}", f"params: {{service: app}}\n    {lease}")
    whole = Whole(tmp_path, playbook=playbook, recovered="0")
    whole.deliver(whole.group()[0])
    if by_hand:
        whole.aws.world.groups["web-asg"].suspended = {"Launch", "Terminate"}
    whole.pass_time(150)
    assert ("RebootInstances" in _changes(whole)) is not by_hand
    assert (whole.only().refusal == "change_in_progress") is by_hand
    whole.close()


_LENT = ["SuspendProcesses", "RebootInstances", "ResumeProcesses"]
_LEASED = """
name: high-cpu
match: ['alertname="HighCPU"']
mode: auto
steps:
  - action: reboot_instance
    before:
      - {action: suspend_processes, params: {processes: [HealthCheck, ReplaceUnhealthy]}}
verify: {expr: recovered, for: 10s, timeout: 60s}
"""


def _behind_balancer(whole: Whole) -> str:
    target = whole.group()[0]
    group = whole.aws.world.groups["web-asg"]
    group.checks = "ELB"
    whole.aws.world.attach(group, target_group_arn("web-asg"))
    return target


def test_what_was_just_prepared_may_not_be_shown_yet(tmp_path: Path) -> None:
    """Auto Scaling shows a suspension some seconds later; the reboot waits for that."""
    whole = Whole(tmp_path, playbook=_LEASED, recovered="1")
    whole.aws.core.hardness = Hardness(heals=True, lag_s=4.0)
    whole.deliver(_behind_balancer(whole))
    whole.pass_time(180)
    assert [call.operation for call in whole.aws.calls] == _LENT
    assert whole.only().state is State.SUCCEEDED
    whole.close()


def test_a_plan_that_prepares_its_step_can_be_approved(tmp_path: Path) -> None:
    """Before the suspension the group would replace the host, and the step alone be refused."""
    whole = Whole(tmp_path, playbook=_LEASED, recovered="1", mode=Mode.APPROVE)
    whole.deliver(_behind_balancer(whole))
    whole.work()
    whole.approve("alice")
    whole.pass_time(60)
    assert [call.operation for call in whole.aws.calls] == _LENT
    whole.close()


def test_a_lease_on_the_group_explains_no_newborn(tmp_path: Path) -> None:
    """Nothing is launched because health checks were suspended: its alert is its own."""
    whole = Whole(tmp_path, playbook=_LEASED, recovered="1")
    target = _behind_balancer(whole)
    newborn = sorted(whole.aws.world.groups["web-asg"].members)[1]
    whole.deliver(target)
    whole.pass_time(60)
    whole.aws.world.instances[newborn].launched_at = whole.now
    whole.pass_time(30)
    whole.deliver(newborn, began_s=5)
    whole.pass_time(60)
    assert [call.operation for call in whole.aws.calls] == _LENT * 2
    whole.close()


@pytest.mark.parametrize("listed", ["itself", "another", "nothing", "no answer"])
def test_an_alert_that_is_rarely_repeated_is_asked_for(tmp_path: Path, listed: str) -> None:
    """Alertmanager may repeat it after hours; the next step follows only while it is active."""
    playbook = _PLAYBOOK.replace("timeout: 60s", "timeout: 400s")
    whole = Whole(tmp_path, playbook=playbook, recovered="0")
    target = whole.group()[0]
    whole.deliver(target)
    labels = {"alertname": "HighCPU", "instance_id": target, "asg": "web-asg"}
    answers: dict[str, list[Mapping[str, str]] | None] = {
        "itself": [labels],
        "another": [labels | {"mountpoint": "/"}],
        "nothing": [],
        "no answer": None,
    }
    whole.active = answers[listed]
    whole.pass_time(900)
    climbed = "RebootInstances" in _changes(whole)
    assert climbed is (listed == "itself")
    assert ("last seen firing" in (whole.only().outcome or "")) is not climbed
    whole.close()
