"""From alert to end, with everything that can go wrong on the way."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from sqlalchemy import text
from structlog.testing import capture_logs

from actions.audit import log
from actions.execution import claims, kill_switch
from actions.place import HOME
from demo.aws.calls import Call
from demo.aws.world import AwsError
from models.inference.verdict import Answer
from receiver.controls import overrides
from receiver.controls.records import Effect, Override
from receiver.playbooks.matchers import parse
from receiver.runs.model import RunRequest, State
from receiver.settings import Mode
from receiver.webhook.episodes import RunEnded
from receiver.workflow.approvals import NoSuchRunError, NotNowError
from tests.end_to_end.whole_fixtures import PLAYBOOK, Whole, verdict


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    whole = Whole(tmp_path)
    yield whole
    whole.close()


def _operations(whole: Whole) -> list[str]:
    return [call.operation for call in whole.aws.calls]


def _hold(whole: Whole, effect: Effect = Effect.HOLD, lasts_s: float = 600) -> str:
    override = Override(
        id="0" * 26,
        matchers=[parse('asg="web-asg"')],
        effect=effect,
        starts_at=whole.now,
        ends_at=whole.now + lasts_s,
        created_by="alice",
        comment="careful",
    )
    with whole.state.write() as connection:
        overrides.add(connection, override, whole.now)
    return override.id


def _pause(whole: Whole, *, paused: bool) -> None:
    with whole.state.write() as connection:
        kill_switch.set_paused(connection, paused=paused, by="alice", comment="why", now=whole.now)


def test_what_the_samples_cannot_tell_yet_is_named_and_known(whole: Whole) -> None:
    """It is not undecided, so that no person is asked for what the next sample tells."""
    target = whole.group()[0]
    whole.verdicts[target] = replace(verdict(Answer.UNDECIDED), early=True)
    whole.deliver(target)
    whole.work()
    run = whole.only()
    assert (run.refusal, run.next_act_at) == ("cannot_tell_yet", whole.now + 60)
    assert whole.service.intake.missed.put_off([run.id, "other"]) == {run.id}


def test_the_ladder_is_climbed_and_then_a_person_is_called(whole: Whole) -> None:
    """Rebooted, then replaced, then failed, with every step in the record."""
    target = whole.group()[0]
    whole.recovered = "0"
    whole.deliver(target)
    whole.pass_time(600)
    run = whole.only()
    assert (run.state, _operations(whole)) == (
        State.FAILED,
        ["RebootInstances", "TerminateInstanceInAutoScalingGroup"],
    )
    assert "a person is needed" in (run.outcome or "")
    with whole.state.read() as connection:
        assert log.verify(connection).ok


@pytest.mark.parametrize(
    "error", [AwsError("Throttling", status=400), EndpointConnectionError(endpoint_url="x")]
)
def test_what_passes_is_tried_again_on_the_same_step(whole: Whole, error: Exception) -> None:
    """Throttled, or never sent: not a reason for a heavier step."""
    target, left = whole.group()[0], [error, error]

    def trouble(operation: str, when: str) -> None:
        if (operation, when) == ("RebootInstances", "before") and left:
            raise left.pop()

    whole.aws.trouble = trouble
    whole.deliver(target)
    whole.pass_time(120)
    assert (whole.only().state, _operations(whole)) == (State.SUCCEEDED, ["RebootInstances"])


@pytest.mark.parametrize("code", ["UnauthorizedOperation", "ExpiredToken", "AccessDenied"])
def test_a_missing_right_calls_a_person_and_no_heavier_step(whole: Whole, code: str) -> None:
    """Nothing was done, and what is worse is not done either."""
    target = whole.group()[0]

    def trouble(operation: str, when: str) -> None:
        if (operation, when) == ("RebootInstances", "before"):
            raise AwsError(code, status=403)

    whole.aws.trouble = trouble
    whole.deliver(target)
    whole.pass_time(120)
    run = whole.only()
    assert (run.state, _operations(whole)) == (State.FAILED, [])
    assert code in (run.outcome or "")


def test_a_refusal_of_the_step_leads_to_no_heavier_one(whole: Whole) -> None:
    """AWS did not reboot, so nothing shows that a reboot would not help: a person is called."""
    target = whole.group()[0]

    def trouble(operation: str, when: str) -> None:
        if (operation, when) == ("RebootInstances", "before"):
            raise AwsError("IncorrectInstanceState", status=400)

    whole.aws.trouble = trouble
    whole.deliver(target)
    whole.pass_time(120)
    assert _operations(whole) == []
    assert whole.only().state is State.FAILED
    assert "reboot_instance never ran: IncorrectInstanceState" in (whole.only().outcome or "")


def test_a_read_right_before_the_act_that_is_denied_is_named(whole: Whole) -> None:
    """With the call and AWS's code, so that a person knows what to grant."""
    target, reads = whole.group()[0], iter(range(100))

    def trouble(operation: str, when: str) -> None:
        if (operation, when) == ("DescribeInstances", "before") and next(reads):
            raise AwsError("UnauthorizedOperation", status=403)

    whole.aws.trouble = trouble
    whole.deliver(target)
    whole.pass_time(200)
    assert _operations(whole) == []
    assert "DescribeInstances: UnauthorizedOperation" in (whole.only().outcome or "")


def test_readiness_says_that_aws_does_not_answer(whole: Whole) -> None:
    """Alerts are taken all the same; once AWS answers again, all is well."""
    target = whole.group()[0]
    answers = whole.aws.trouble

    def trouble(operation: str, when: str) -> None:
        if when == "before":
            raise EndpointConnectionError(endpoint_url=operation)

    whole.aws.trouble = trouble
    whole.deliver(target)
    whole.pass_time(5)
    assert whole.service.checks()["aws"] == "ok"
    whole.pass_time(60)
    said = whole.service.checks()["aws"]
    assert said.startswith("has answered no read for ")
    assert said.endswith(" s: EndpointConnectionError")
    whole.aws.trouble = answers
    whole.deliver(whole.group("db")[0], group="db")
    whole.pass_time(5)
    assert whole.service.checks()["aws"] == "ok"


@pytest.mark.parametrize("recovered", ["0", "1"])
def test_a_lost_answer_is_never_a_second_reboot(whole: Whole, recovered: str) -> None:
    """Executed and not answered: the metrics decide, and otherwise a person."""
    target = whole.group()[0]

    def trouble(operation: str, when: str) -> None:
        if (operation, when) == ("RebootInstances", "after"):
            raise ReadTimeoutError(endpoint_url="x")

    whole.aws.trouble = trouble
    whole.recovered = recovered
    whole.deliver(target)
    whole.pass_time(400)
    expected = State.SUCCEEDED if recovered == "1" else State.FAILED
    assert (whole.only().state, _operations(whole)) == (expected, ["RebootInstances"])


def test_a_capacity_shortage_is_rolled_back_and_reported(whole: Whole) -> None:
    """More capacity does not help, nor does any later step: the group gets its capacity back."""
    members = whole.group()
    whole.verdicts = {member: verdict(surging=True) for member in members}
    whole.recovered = "0"
    whole.deliver(members[0])
    whole.pass_time(300)
    whole.deliver(members[0], began_s=320)
    whole.pass_time(500)
    run = whole.only()
    assert run.state is State.ROLLED_BACK
    assert "a person is needed" in (run.outcome or "")
    assert whole.aws.world.groups["web-asg"].desired == 6
    assert _operations(whole) == [
        "SetDesiredCapacity",
        "RebootInstances",
        "TerminateInstanceInAutoScalingGroup",
        "SetDesiredCapacity",
    ]


@pytest.mark.parametrize(
    "operation",
    [
        "DescribeInstances",
        "DescribeAutoScalingGroups",
        "DescribeInstanceRefreshes",
        "DescribeInstanceStatus",
        "LookupEvents",
        "DescribeSessions",
        "ListCommandInvocations",
    ],
)
def test_without_an_answer_of_aws_nothing_is_done(whole: Whole, operation: str) -> None:
    """Each question that a guard rests on."""
    target = whole.group()[0]

    def trouble(called: str, when: str) -> None:
        if (called, when) == (operation, "before"):
            raise ReadTimeoutError(endpoint_url="x")

    whole.aws.trouble = trouble
    whole.deliver(target)
    whole.pass_time(30)
    run = whole.only()
    assert (run.state, _operations(whole)) == (State.REFUSED, [])
    assert run.refusal == "state_unknown"
    if operation in {"DescribeInstances", "DescribeAutoScalingGroups"}:
        assert run.outcome == f"AWS did not answer {operation}: ReadTimeoutError"


def test_the_trail_is_believed_for_half_a_minute(whole: Whole) -> None:
    """Without an answer it is asked again; where it shows no change at all, by the name, too."""
    lookups: list[str] = []
    silent = True

    def trouble(operation: str, when: str) -> None:
        if (operation, when) == ("LookupEvents", "before"):
            lookups.append(operation)
            if silent:
                raise ReadTimeoutError(endpoint_url="x")

    whole.aws.trouble = trouble
    reader, now = whole.dispatcher.pipeline.snapshots.aws.at(HOME), whole.now
    reader.prefetch(["web-asg", "no group: \n"], now)
    silent = False
    counts = []
    for later in (0.0, 29.0, 31.0):
        reader.prefetch(["web-asg"], now + later)
        counts.append(len(lookups))
    assert counts == [3, 3, 5]


@pytest.mark.parametrize(
    "table",
    [
        "claims",
        "attempts",
        "breakers",
        "armings",
        "overrides",
        "switch",
        "reservations",
        "intents",
    ],
)
def test_without_our_own_records_nothing_is_done(whole: Whole, table: str) -> None:
    """Each table that a guard reads is missing.

    Without the tables that its end must release, the run cannot end either: it stays as received.
    """
    target = whole.group()[0]
    with whole.state.write() as connection:
        connection.execute(text(f"ALTER TABLE {table} RENAME TO gone"))
    whole.deliver(target)
    # A traceback for a terminal takes seconds.
    with capture_logs():
        for _ in range(4):
            whole.dispatcher.dispatch()
            time.sleep(0.01)
    with whole.state.write() as connection:
        connection.execute(text(f"ALTER TABLE gone RENAME TO {table}"))
    assert _operations(whole) == []
    run = whole.only()
    if table in {"claims", "reservations"}:
        assert (run.state, run.refusal) == (State.RECEIVED, None)
    else:
        assert (run.state, run.refusal) == (State.REFUSED, "state_unknown")


@pytest.mark.parametrize("answer", [Answer.UNDECIDED, Answer.REFUTED])
def test_no_verdict_no_act(whole: Whole, answer: Answer) -> None:
    """Neither where nothing is wrong, nor where it cannot be told."""
    target = whole.group()[0]
    whole.verdicts[target] = verdict(answer)
    whole.deliver(target)
    whole.pass_time(30)
    assert whole.only().refusal == f"verdict_{answer}"
    assert _operations(whole) == []


def test_two_of_a_group_are_not_taken_out_together(whole: Whole) -> None:
    """The second waits until the first has recovered, and is then looked at anew."""
    first, second, *_ = whole.group()
    whole.deliver(first)
    whole.deliver(second)
    whole.work()
    assert len(_operations(whole)) == 1
    refused = next(run for run in whole.runs() if run.refusal)
    assert refused.refusal == "blast_radius"
    whole.pass_time(70)
    whole.deliver(refused.target or "")
    whole.pass_time(30)
    assert _operations(whole) == ["RebootInstances"] * 2


def test_a_storm_touches_no_instance(whole: Whole) -> None:
    """Half a group alerts: whoever was first may have been helped, nobody after it."""
    for member in whole.group(size=12)[:6]:
        whole.deliver(member)
    whole.pass_time(60)
    assert len(_operations(whole)) <= 1
    assert {run.refusal for run in whole.runs() if run.refusal} == {"storm"}


def _read(whole: Whole) -> list[str]:
    """Filled with what AWS is asked from now on."""
    operations: list[str] = []
    whole.aws.trouble = lambda operation, _: operations.append(operation)
    return operations


def test_in_a_storm_each_thing_is_read_once_a_round(whole: Whole) -> None:
    """Twenty alerts on four hosts of a group are decided on one snapshot; the next ones are not."""
    targets = whole.group(size=12)[:4]
    whole.verdicts |= {target: verdict(Answer.REFUTED) for target in targets}
    operations = _read(whole)
    for cpu in "abcde":
        for target in targets:
            whole.deliver(target, cpu=cpu)
    whole.work()
    assert [run.refusal for run in whole.runs()] == ["verdict_refuted"] * 20
    assert operations.count("DescribeAutoScalingGroups") == 1
    assert operations.count("DescribeInstances") == len(targets)
    assert len([run for run in whole.runs() if run.verdict is not None]) == 20
    whole.deliver(targets[0], cpu="f")
    whole.work()
    assert operations.count("DescribeAutoScalingGroups") == 2


def _storming(whole: Whole) -> str:
    """Three hosts of a large group alert, of whom nothing can be told; another one's id."""
    first, *others = whole.group(size=40)[:4]
    whole.verdicts |= {target: verdict(Answer.UNDECIDED) for target in others}
    for target in others:
        whole.deliver(target)
    whole.work()
    return first


def test_nothing_is_remembered_from_one_round_to_the_next(whole: Whole) -> None:
    """A verdict, a moment in which AWS did not answer, and a pause that is over."""
    target = _storming(whole)
    whole.verdicts[target] = verdict(Answer.REFUTED)
    whole.deliver(target, cpu="a")
    whole.work()
    whole.verdicts[target] = verdict()

    def trouble(operation: str, _: str) -> None:
        if operation == "DescribeInstanceRefreshes":
            raise AwsError("Throttling", status=400)

    whole.aws.trouble = trouble
    whole.deliver(target, cpu="b")
    whole.work()
    whole.aws.trouble = lambda *_: None
    _pause(whole, paused=True)
    whole.deliver(target, cpu="c")
    whole.work()
    _pause(whole, paused=False)
    whole.deliver(target, cpu="d")
    whole.work()
    ends = [run.refusal for run in reversed(whole.runs()) if "cpu" in run.labels]
    assert ends == ["verdict_refuted", "state_unknown", "paused", None]
    assert _operations(whole) == ["RebootInstances"]


def test_what_was_read_before_an_act_serves_no_later_decision(whole: Whole) -> None:
    """The newest alert acts, and the two after it are decided on one new snapshot."""
    targets = whole.group(size=40)[:3]
    whole.verdicts |= {target: verdict(Answer.REFUTED) for target in targets[:2]}
    operations = _read(whole)
    for target in targets:
        whole.deliver(target)
        whole.now += 1
    whole.dispatcher.dispatch()
    assert sorted(run.state for run in whole.runs()) == [State.ACTING, *[State.REFUSED] * 2]
    assert operations.count("DescribeAutoScalingGroups") == 2


@pytest.mark.parametrize(
    ("took_s", "answer", "snapshots"),
    [
        (3.0, Answer.REFUTED, 1),
        (11.0, Answer.REFUTED, 2),
        (1.0, Answer.CONFIRMED, 1),
        (3.0, Answer.CONFIRMED, 2),
    ],
)
def test_a_step_needs_fresher_facts_than_a_refusal(
    whole: Whole, took_s: float, answer: Answer, snapshots: int
) -> None:
    """The first alert's reads took long; the second one, refused or not, is decided on them."""
    targets = whole.group(size=12)[:2]
    whole.verdicts = {targets[0]: verdict(Answer.REFUTED), targets[1]: verdict(answer)}
    operations: list[str] = []

    def slow(operation: str, _: str) -> None:
        first = operation not in operations
        operations.append(operation)
        whole.now += took_s * (first and operation == "DescribeInstanceRefreshes")

    whole.aws.trouble = slow
    for target in targets:
        whole.deliver(target)
    whole.dispatcher.dispatch()
    whole.dispatcher.dispatch()
    read = (
        operations[: operations.index("RebootInstances")]
        if "RebootInstances" in operations
        else operations
    )
    assert read.count("DescribeAutoScalingGroups") == snapshots


def test_an_unanswered_read_refuses_no_later_alert(whole: Whole) -> None:
    """AWS answered again three seconds later; the group's next alert is decided on that."""
    targets = whole.group(size=12)[:2]
    failed: list[str] = []

    def fails_once(operation: str, _: str) -> None:
        if operation == "DescribeInstanceRefreshes" and not failed:
            failed.append(operation)
            whole.now += 3.0
            raise AwsError("InternalFailure", status=400)

    whole.aws.trouble = fails_once
    for target in targets:
        whole.deliver(target)
    whole.work()
    assert sorted(run.refusal or "" for run in whole.runs()) == ["", "state_unknown"]
    assert _operations(whole) == ["RebootInstances"]


def test_a_storm_larger_than_a_batch_is_decided_on_one_snapshot(whole: Whole) -> None:
    """Also alerts that are taken from the database after the snapshot was read."""
    targets = whole.group(size=12)[:4]
    whole.verdicts |= {target: verdict(Answer.REFUTED) for target in targets}
    operations = _read(whole)
    for number in range(100):
        whole.deliver(targets[number % 4], cpu=str(number))
    whole.work()
    assert [run.refusal for run in whole.runs()] == ["verdict_refuted"] * 100
    assert operations.count("DescribeAutoScalingGroups") == 1


def test_who_left_meanwhile_is_counted_at_the_claim(tmp_path: Path) -> None:
    """AWS took long to say all: what it said first is too old to act on."""
    whole = Whole(tmp_path)
    target, other, *_ = whole.group(size=9)
    whole.aws.world.attach(whole.aws.world.groups["web-asg"], "arn:1")
    once: list[str] = []

    def trouble(operation: str, _: str) -> None:
        if operation == "DescribeTargetHealth" and not once:
            once.append(operation)
            whole.now += 20
            whole.aws.world.groups["web-asg"].members[other].lifecycle = "Standby"

    whole.aws.trouble = trouble
    whole.deliver(target)
    whole.work()
    assert whole.only().refusal == "blast_radius"
    assert _operations(whole) == []
    whole.close()


def test_what_was_known_of_a_target_refuses_no_one_who_asks(whole: Whole) -> None:
    """Nor a run that has acted already: only what is new, and may come again."""
    targets = whole.group(size=12)[:4]
    whole.verdicts |= {target: verdict(Answer.REFUTED) for target in targets}
    for target in targets:
        whole.deliver(target)
        whole.deliver(target, cpu="a")
    whole.work()
    whole.verdicts.clear()
    request = RunRequest(
        by="alice",
        role="operator",
        comment="it is broken",
        playbook="high-cpu",
        target=targets[0],
        dry_run=False,
    )
    whole.service.manual_runs.start(request)
    whole.work()
    assert _operations(whole) == ["RebootInstances"]


_GROWS = """  - action: set_desired_capacity
    params: {desired: "+50%"}
    when: group.surging
"""


@pytest.mark.parametrize("left_out", ["", _GROWS], ids=["group step", "instances only"])
def test_a_storm_is_refused_before_its_instances_are_read(tmp_path: Path, left_out: str) -> None:
    """Most of a group alerts, and one read of the group tells; a step for the group needs more."""
    assert left_out in PLAYBOOK
    whole = Whole(tmp_path, playbook=PLAYBOOK.replace(left_out, "") if left_out else PLAYBOOK)
    operations = _read(whole)
    for target in whole.group(size=12)[:9]:
        whole.deliver(target)
    whole.work()
    assert {run.refusal for run in whole.runs()} == {"storm"}
    assert operations.count("DescribeAutoScalingGroups") == 1
    assert operations.count("DescribeInstances") == (0 if left_out else 9)
    whole.close()


def test_three_failures_open_the_breaker_and_one_may_try_later(tmp_path: Path) -> None:
    """Of one playbook, whatever the targets."""
    whole = Whole(tmp_path, playbook=PLAYBOOK.replace("  - action: replace_instance\n", ""))
    whole.recovered = "0"
    targets = [whole.group(f"asg-{number}")[0] for number in range(6)]
    for number in range(4):
        whole.deliver(targets[number], group=f"asg-{number}")
        whole.pass_time(400)
    assert len(_operations(whole)) == 3
    assert whole.runs()[0].refusal == "breaker_open"
    whole.pass_time(1_800)
    whole.deliver(targets[4], group="asg-4")
    whole.deliver(targets[5], group="asg-5")
    whole.work()
    assert len(_operations(whole)) == 4
    whole.recovered = "1"
    whole.pass_time(60)
    whole.deliver(targets[5], group="asg-5")
    whole.pass_time(70)
    whole.deliver(targets[5], group="asg-5")
    whole.pass_time(70)
    assert len(_operations(whole)) == 5
    whole.close()


def test_the_third_act_within_an_hour_is_the_last(tmp_path: Path) -> None:
    """Endless healing hides what is really wrong, also where each recovery has lasted."""
    whole = Whole(tmp_path, playbook=PLAYBOOK + "limits: {relapse: 0s}\n")
    target = whole.group()[0]
    for _ in range(5):
        whole.deliver(target)
        whole.pass_time(30)
        whole.deliver(target, firing=False)
        whole.pass_time(400)
    assert len(_operations(whole)) == 3
    assert whole.runs()[0].refusal == "rate_limit"
    whole.pass_time(3_600)
    whole.deliver(target)
    whole.pass_time(30)
    assert len(_operations(whole)) == 4
    whole.close()


def test_an_alert_that_our_own_act_brought_about_belongs_to_its_run(whole: Whole) -> None:
    """It is told with the run that caused it, and not acted on."""
    target = whole.group()[0]
    whole.deliver(target)
    whole.pass_time(60)
    acted = whole.only()
    whole.now += 25
    whole.inbox.record_end(RunEnded(acted.id, whole.now, None))
    whole.pass_time(1)
    whole.deliver(target, firing=False)
    whole.deliver(target)
    whole.pass_time(5)
    echo = whole.runs()[0]
    assert (echo.refusal, echo.caused_by) == ("self_inflicted", acted.id)


@pytest.mark.parametrize("effect", list(Effect))
@pytest.mark.parametrize("claimed", [False, True], ids=["before the claim", "after the claim"])
def test_an_override_after_the_decision_stops_the_act(
    whole: Whole, effect: Effect, *, claimed: bool
) -> None:
    """People are asked again with the claim, and right before the call."""
    target = whole.group()[0]
    whole.deliver(target)
    whole.dispatcher.dispatch()

    def set_once_claimed(operation: str, _: str) -> None:
        with whole.state.read() as connection:
            held = any(claim.held for claim in claims.list_active(connection, whole.now))
        if held and operation == "DescribeInstances":
            whole.aws.trouble = lambda _, __: None
            _hold(whole, effect)

    if claimed:
        whole.aws.trouble = set_once_claimed
    else:
        _hold(whole, effect)
    whole.work()
    assert (whole.only().refusal, _operations(whole)) == ("override_hold", [])


def test_an_override_to_observe_decides_only(whole: Whole) -> None:
    """It says what it would have done."""
    target = whole.group()[0]
    _hold(whole, Effect.OBSERVE)
    whole.deliver(target)
    whole.pass_time(5)
    run = whole.only()
    assert (run.state, _operations(whole)) == (State.OBSERVED, [])
    assert run.plan is not None
    assert run.plan.action == "reboot_instance"


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Whole]:
    whole = Whole(tmp_path, mode=Mode.APPROVE)
    whole.deliver(whole.group()[0])
    whole.work()
    yield whole
    whole.close()


def test_an_approved_plan_is_carried_out_once(asking: Whole) -> None:
    """And says who approved it."""
    run = asking.only()
    assert (run.state, _operations(asking)) == (State.AWAITING_APPROVAL, [])
    asking.approve("alice")
    with pytest.raises(NotNowError):
        asking.approve("bob")
    asking.pass_time(60)
    run = asking.only()
    assert (run.state, _operations(asking)) == (State.SUCCEEDED, ["RebootInstances"])
    assert run.approval is not None
    assert (run.approval.by, run.approval.used) == ("alice", True)


def test_an_approval_is_for_this_very_target(asking: Whole) -> None:
    """Another instance under the same id, as far as anybody can tell."""
    run = asking.only()
    asking.aws.world.instances[run.target or ""].launched_at -= 1
    asking.approve("alice")
    asking.pass_time(10)
    assert (asking.only().refusal, _operations(asking)) == ("plan_changed", [])


def test_an_approval_does_not_overrule_a_guard(asking: Whole) -> None:
    """What is refused by then stays refused."""
    asking.aws.world.groups["web-asg"].refreshes = [{"Status": "InProgress"}]
    asking.approve("alice")
    asking.pass_time(10)
    assert (asking.only().refusal, _operations(asking)) == ("change_in_progress", [])


def test_a_denied_plan_ends_and_an_unanswered_one_expires(asking: Whole) -> None:
    """Neither acts."""
    plan = asking.only().plan
    assert plan is not None
    asking.commands.deny(asking.only().id, "alice", "not now", plan=plan.digest)
    assert asking.only().state is State.CANCELLED
    assert "not now" in (asking.only().outcome or "")
    asking.pass_time(400)
    asking.deliver(asking.group("api-asg")[0], group="api-asg")
    asking.pass_time(1_900)
    assert asking.runs()[0].state is State.EXPIRED
    assert _operations(asking) == []


@pytest.mark.parametrize("late", ["the yes", "the act"])
def test_an_approval_does_not_outlive_its_time(asking: Whole, late: str) -> None:
    """Said too late, or found hours later, as where the service was down: people are asked anew."""
    run = asking.only()
    if late == "the act":
        asking.approve("alice")
    asking.now += 10_000
    asking.deliver(str(run.target))
    if late == "the yes":
        with pytest.raises(NotNowError):
            asking.approve("alice")
    asking.start()
    asking.pass_time(60)
    assert _operations(asking) == []


def test_no_group_is_scaled_in_below_what_its_playbook_keeps(tmp_path: Path) -> None:
    """Whatever share the step asks for, and however low the group's own minimum is."""
    steps = "steps: [{action: scale_in, params: {desired: '-100%'}}]\nlimits: {min_healthy: 4}\n"
    whole = Whole(tmp_path, playbook=PLAYBOOK.split("steps:")[0] + steps)
    target = whole.group()[0]
    whole.aws.world.groups["web-asg"].minimum = 0
    whole.deliver(target)
    whole.pass_time(20)
    assert whole.aws.world.groups["web-asg"].desired == 4
    whole.close()


def test_an_expiry_survives_a_crash(asking: Whole) -> None:
    """The engine forgets; the record does not."""
    asking.start()
    asking.pass_time(1_900)
    assert asking.only().state is State.EXPIRED


def test_a_run_is_rolled_back_by_hand(whole: Whole) -> None:
    """Also after it has succeeded; but not over what a person changed since."""
    members = whole.group()
    whole.verdicts[members[0]] = verdict(surging=True)
    whole.deliver(members[0])
    whole.pass_time(60)
    run = whole.only()
    assert (run.state, whole.aws.world.groups["web-asg"].desired) == (State.SUCCEEDED, 9)
    whole.commands.roll_back(run.id, "alice", "too many")
    whole.pass_time(10)
    assert (whole.only().state, whole.aws.world.groups["web-asg"].desired) == (State.ROLLED_BACK, 6)
    with pytest.raises(NotNowError):
        whole.commands.roll_back(run.id, "alice", "again")


def test_what_a_person_changed_is_not_rolled_back(whole: Whole) -> None:
    """The group is not as we left it, although AWS must show that by now."""
    members = whole.group()
    whole.verdicts[members[0]] = verdict(surging=True)
    whole.deliver(members[0])
    whole.pass_time(130)
    whole.aws.world.groups["web-asg"].desired = 11
    whole.commands.roll_back(whole.only().id, "alice", "too many")
    whole.pass_time(10)
    run = whole.only()
    assert (run.state, whole.aws.world.groups["web-asg"].desired) == (State.FAILED, 11)
    assert "a rollback would overwrite that change" in (run.outcome or "")


def test_a_pause_of_everything_holds_a_rollback_back_until_it_is_over(whole: Whole) -> None:
    """Nothing acts meanwhile, also over a restart; the step is rolled back afterwards."""
    members = whole.group()
    whole.verdicts[members[0]] = verdict(surging=True)
    whole.deliver(members[0])
    whole.pass_time(60)
    with whole.state.write() as connection:
        kill_switch.pause_everything(connection, by="root", comment="why", now=whole.now)
    whole.commands.roll_back(whole.only().id, "alice", "too many")
    whole.pass_time(60)
    assert (whole.only().state, whole.aws.world.groups["web-asg"].desired) == (
        State.ROLLING_BACK,
        9,
    )
    whole.start()
    _pause(whole, paused=False)
    whole.pass_time(60)
    assert (whole.only().state, whole.aws.world.groups["web-asg"].desired) == (State.ROLLED_BACK, 6)


def test_a_playbook_that_was_edited_ends_the_ladder_of_a_run(whole: Whole) -> None:
    """A restart loads other steps under the numbers of the run's ladder: none of them is taken."""
    whole.recovered = "0"
    whole.deliver(whole.group()[0])
    whole.work()
    assert (whole.only().state, _operations(whole)) == (State.VERIFYING, ["RebootInstances"])
    first = "  - action: reboot_instance\n"
    edited = PLAYBOOK.replace(first, f"  - action: stop_instance\n{first}")
    (whole.folder / "playbooks" / "one.yaml").write_text(edited)
    whole.start()
    whole.pass_time(400)
    assert _operations(whole) == ["RebootInstances"]
    assert whole.only().state is State.FAILED
    outcome = whole.only().outcome or ""
    assert "was changed since the run's first step; a person is needed" in outcome


def test_a_run_is_cancelled_before_its_next_step(whole: Whole) -> None:
    """What was done stays done."""
    target = whole.group()[0]
    whole.recovered = "0"
    whole.deliver(target)
    whole.pass_time(10)
    whole.commands.cancel(whole.only().id, "alice", "I have it")
    whole.pass_time(200)
    assert (whole.only().state, _operations(whole)) == (State.CANCELLED, ["RebootInstances"])
    with pytest.raises(NotNowError):
        whole.commands.cancel(whole.only().id, "alice", "again")
    with pytest.raises(NoSuchRunError):
        whole.commands.cancel("0" * 26, "alice", "who")


@pytest.mark.parametrize("answer", [None, "NaN"])
def test_no_data_is_no_recovery(whole: Whole, answer: str | None) -> None:
    """Prometheus down, or talking nonsense: the next step, then a person; never a success."""
    target = whole.group()[0]
    whole.recovered = answer
    whole.deliver(target)
    whole.pass_time(400)
    assert whole.only().state is State.FAILED


def test_an_alert_on_a_stranger_is_refused(whole: Whole) -> None:
    """No opt-in tag, another group, launched since, going away."""
    target, *_ = whole.group()
    host = whole.aws.world.instances[target]
    member = whole.aws.world.groups["web-asg"].members[target]
    kept = replace(host)
    changes: list[dict[str, object]] = [
        {"tags": {}},
        {"launched_at": whole.now + 10_000},
        {"state": "shutting-down"},
        {"lifecycle": "Terminating:Wait"},
    ]
    for change in changes:
        member.lifecycle = str(change.pop("lifecycle", "InService"))
        host.__dict__.update(vars(kept) | change)
        whole.deliver(target)
        whole.pass_time(5)
        assert whole.runs()[0].refusal in {"target_unproven", "change_in_progress"}, change
        whole.deliver(target, firing=False)
        whole.pass_time(70)
    assert _operations(whole) == []


_LEASING = PLAYBOOK.replace(
    "  - action: reboot_instance\n",
    "  - action: reboot_instance\n"
    "    before:\n"
    "      - {action: create_silence, params: {alertnames: [InstanceDown]}}\n"
    "      - {action: suspend_processes, params: {processes: [ReplaceUnhealthy]}}\n",
)


@pytest.mark.parametrize("recovered", ["1", "0"])
@pytest.mark.parametrize("crash", [False, True])
def test_what_is_lent_for_a_step_is_given_back_when_the_run_ends(
    tmp_path: Path, recovered: str, *, crash: bool
) -> None:
    """However it ends, also where the process was cut off; a silence that fails stops nothing."""
    whole = Whole(tmp_path, playbook=_LEASING)
    target = whole.group()[0]
    whole.aws.world.groups["web-asg"].suspended = {"AZRebalance"}
    whole.recovered = recovered
    whole.deliver(target)
    whole.work()
    assert _operations(whole) == ["SuspendProcesses", "RebootInstances"]
    assert whole.aws.world.groups["web-asg"].suspended == {
        "AZRebalance",
        "HealthCheck",
        "ReplaceUnhealthy",
    }
    if crash:
        whole.start()
    whole.pass_time(800)
    assert whole.only().state.ended
    assert whole.aws.world.groups["web-asg"].suspended == {"AZRebalance"}
    assert _operations(whole)[-1] == "ResumeProcesses"
    whole.close()


def test_a_cancelled_run_gives_back_what_it_was_lent(tmp_path: Path) -> None:
    """What was done stays done, and what was lent does not, once the host must have booted."""
    whole = Whole(tmp_path, playbook=_LEASING)
    whole.recovered = "0"
    whole.deliver(whole.group()[0])
    whole.pass_time(10)
    whole.commands.cancel(whole.only().id, "alice", "I have it")
    whole.pass_time(10)
    assert whole.only().state is State.CANCELLED
    whole.pass_time(400)
    assert whole.aws.world.groups["web-asg"].suspended == set()
    whole.close()


def test_a_step_that_cannot_be_prepared_is_not_taken(tmp_path: Path) -> None:
    """Nor is a heavier one: the step was never tried."""
    whole = Whole(tmp_path, playbook=_LEASING)

    def trouble(operation: str, when: str) -> None:
        if (operation, when) == ("SuspendProcesses", "before"):
            raise AwsError("ValidationError", status=400)

    whole.aws.trouble = trouble
    target = whole.group()[0]
    whole.deliver(target)
    whole.pass_time(100)
    assert _operations(whole) == []
    assert whole.only().state is State.FAILED
    whole.close()


@pytest.mark.parametrize("command", ["pause", "hold"])
def test_a_step_refused_after_its_preparation_gives_back_what_it_was_lent(
    tmp_path: Path, command: str
) -> None:
    """Somebody pauses or holds right between the two: the lease ends at once, nothing is begun."""
    whole = Whole(tmp_path, playbook=_LEASING)

    def on_call(call: Call) -> None:
        if call.operation == "SuspendProcesses" and command == "pause":
            _pause(whole, paused=True)
        elif call.operation == "SuspendProcesses":
            _hold(whole, lasts_s=100)

    whole.aws.on_call = on_call
    whole.deliver(whole.group()[0])
    whole.pass_time(50)
    assert (whole.only().state, _operations(whole)) == (
        State.REFUSED,
        ["SuspendProcesses", "ResumeProcesses"],
    )
    whole.close()


_TWO_LEASING = """
name: high-cpu
match: ['alertname="HighCPU"']
mode: auto
steps:
  - action: reboot_instance
    when: not group.surging
    before: [{action: suspend_processes, params: {processes: [ReplaceUnhealthy]}}]
  - action: replace_instance
    before: [{action: suspend_processes, params: {processes: [AZRebalance]}}]
verify: {expr: recovered, for: 10s, timeout: 60s}
"""


@pytest.mark.parametrize("over", [True, False])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_preparation_cut_off_for_long_is_given_back(
    tmp_path: Path, when: str, *, over: bool
) -> None:
    """The step is decided on anew, prepared by what itself asks for, or not taken at all."""
    whole = Whole(tmp_path, playbook=_TWO_LEASING)
    target = whole.group()[0]

    def cut(operation: str, moment: str) -> None:
        if (operation, moment) == ("SuspendProcesses", when):
            raise KeyboardInterrupt

    whole.aws.trouble = cut
    whole.deliver(target)
    with pytest.raises(KeyboardInterrupt):
        whole.work()
    whole.aws.trouble = lambda _, __: None
    whole.now += 100
    whole.verdicts[target] = verdict(surging=True)
    if over:
        whole.deliver(target, firing=False)
    suspended: list[set[str]] = []

    def on_call(call: Call) -> None:
        if call.operation.startswith("Terminate"):
            suspended.append(set(whole.aws.world.groups["web-asg"].suspended))

    whole.aws.on_call = on_call
    whole.start()
    whole.pass_time(300)
    assert whole.only().state.ended
    assert all("AZRebalance" in processes for processes in suspended)
    assert len(suspended) == (not over)
    assert whole.aws.world.groups["web-asg"].suspended == set()
    whole.close()
