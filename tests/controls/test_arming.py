"""What an armed playbook may do, and that nothing acts once it is disarmed."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from actions.audit import log
from actions.place import HOME
from actions.reasons import Reason
from receiver.controls import arming
from receiver.controls.arming import Scope, disarmed
from receiver.controls.records import ALL, FREE, ArmedMode, Arming, armed_mode, in_canary
from receiver.decision.decide import decide
from receiver.decision.model import Act, Ask, Decision, Observe, Refuse
from receiver.runs.model import State
from receiver.settings import Mode
from tests.decision.test_decide import ASG, HOST, INPUTS, NOW, PLAYBOOKS, SNAPSHOT, VERDICT
from tests.end_to_end.whole_fixtures import PLAYBOOK, Whole, verdict

_DIGEST = PLAYBOOKS[0].digest
_NAMES = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20)


def _arming(mode: Mode, service: str = ALL, digest: str = _DIGEST, percent: int = 100) -> Arming:
    return Arming(
        playbook="high-cpu",
        service=service,
        mode=mode,
        canary_percent=percent,
        digest=digest,
        by="alice",
        comment="why",
        at=NOW,
        since=NOW,
        figures={},
        despite=(),
    )


@pytest.mark.parametrize(
    ("armings", "service", "required", "mode"),
    [
        ([], ASG, True, Mode.OBSERVE),
        ([], ASG, False, Mode.AUTO),
        ([_arming(Mode.APPROVE)], ASG, True, Mode.APPROVE),
        ([_arming(Mode.APPROVE)], ASG, False, Mode.APPROVE),
        ([_arming(Mode.OBSERVE)], ASG, False, Mode.OBSERVE),
        ([_arming(Mode.AUTO, "other")], ASG, True, Mode.OBSERVE),
        ([_arming(Mode.APPROVE), _arming(Mode.AUTO, ASG)], ASG, True, Mode.AUTO),
        ([_arming(Mode.AUTO), _arming(Mode.OBSERVE, ASG)], ASG, True, Mode.OBSERVE),
        ([_arming(Mode.AUTO), _arming(Mode.OBSERVE, ASG)], "other", True, Mode.AUTO),
        ([_arming(Mode.AUTO, digest="of another")], ASG, True, Mode.OBSERVE),
        ([_arming(Mode.AUTO, digest="of another")], ASG, False, Mode.OBSERVE),
    ],
)
def test_what_was_said_of_the_service_itself_counts_most(
    armings: list[Arming], service: str, mode: Mode, *, required: bool
) -> None:
    """And only of this very playbook; what nobody said anything of is as the profile wants."""
    assert armed_mode(armings, HOME, service, _DIGEST, required=required).mode is mode


@given(_NAMES, _NAMES, st.integers(0, 100), st.integers(0, 100))
def test_a_target_in_the_canary_stays_in_as_the_share_grows(
    playbook: str, target: str, percent: int, other: int
) -> None:
    """Asked again, the answer is the same; 0 % is nobody and 100 % everybody."""
    small, large = sorted((percent, other))
    assert in_canary(playbook, target, small) == in_canary(playbook, target, small)
    assert in_canary(playbook, target, small) <= in_canary(playbook, target, large)
    assert not in_canary(playbook, target, 0)
    assert in_canary(playbook, target, 100)


@given(_NAMES, st.integers(1, 99))
def test_the_canary_is_about_as_large_as_was_said(playbook: str, percent: int) -> None:
    """Of many targets; five standard deviations of 2,000 draws are allowed for."""
    taken = sum(in_canary(playbook, f"i-{number:017x}", percent) for number in range(2_000))
    share = percent / 100
    assert abs(taken / 2_000 - share) < 5 * (share * (1 - share) / 2_000) ** 0.5 + 1e-9


def test_the_canary_is_the_same_in_every_process() -> None:
    """A restart, or another replica, takes the very same targets."""
    program = (
        "from receiver.controls.records import in_canary;"
        "print([in_canary('high-cpu', f'i-{n}', 30) for n in range(50)])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert result.stdout.decode().strip() == str(
        [in_canary("high-cpu", f"i-{number}", 30) for number in range(50)]
    )


def _decided(armed: ArmedMode | None, *, surging: bool = False) -> Decision:
    verdict, snapshot = replace(VERDICT, surging=surging), replace(SNAPSHOT, arming=armed)
    return decide(replace(INPUTS, verdict=verdict, snapshot=snapshot))


def _percent(target: str, *, takes: bool) -> int:
    """A share that takes the target, or does not, and is neither none nor all."""
    return next(
        percent for percent in range(1, 100) if in_canary("high-cpu", target, percent) == takes
    )


def test_an_arming_lowers_and_never_raises() -> None:
    """The file's mode and the service's hold as before."""
    for mode, becomes in ((Mode.OBSERVE, Observe), (Mode.APPROVE, Ask), (Mode.AUTO, Act)):
        assert isinstance(_decided(ArmedMode(mode=mode, why="so")), becomes)
    for low in (Mode.OBSERVE, Mode.APPROVE):
        playbooks = [playbook.model_copy(update={"mode": low}) for playbook in PLAYBOOKS]
        assert not isinstance(decide(replace(INPUTS, playbooks=playbooks)), Act)
        lowered = replace(SNAPSHOT, mode=low, arming=FREE)
        assert not isinstance(decide(replace(INPUTS, snapshot=lowered)), Act)


def test_what_is_not_armed_is_decided_in_full_and_observed() -> None:
    """So that there is a record to arm it by; the gate says why nothing was done."""
    decision = _decided(armed_mode([], HOME, ASG, _DIGEST, required=True))
    assert isinstance(decision, Observe)
    assert decision.plan.target == HOST
    assert decision.gates[-1].detail == "observe, set by the arming: the playbook is not armed"


def test_without_the_armings_nothing_is_done() -> None:
    """Unknown refuses."""
    decision = _decided(None)
    assert isinstance(decision, Refuse)
    assert (decision.reason, decision.gates[-1].name) == (Reason.STATE_UNKNOWN, "arming")


@pytest.mark.parametrize(("target", "surging"), [(HOST, False), (ASG, True)])
def test_outside_of_the_canary_is_only_observed(target: str, *, surging: bool) -> None:
    """By what would be acted on: for a group that is scaled, the group."""
    for takes, becomes in ((True, Act), (False, Observe)):
        percent = _percent(target, takes=takes)
        decision = _decided(
            ArmedMode(mode=Mode.AUTO, why="so", canary_percent=percent), surging=surging
        )
        assert isinstance(decision, becomes)
        assert decision.plan.target == target
    assert f"{target} is not among the {percent} % of targets" in decision.gates[-1].detail


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    whole = Whole(tmp_path)
    yield whole
    whole.close()


def _arm(whole: Whole, mode: Mode, service: str = ALL, percent: int = 100) -> None:
    digest = whole.playbooks.items[0].digest
    with whole.state.write() as connection:
        arming.save(connection, _arming(mode, service, digest, percent))


def _disarm(whole: Whole, service: str = ALL) -> None:
    disarming = disarmed(
        Scope(playbook="high-cpu", service=service), by="bob", comment="stop", now=whole.now
    )
    with whole.state.write() as connection:
        arming.save(connection, disarming)


def _operations(whole: Whole) -> list[str]:
    return [call.operation for call in whole.aws.calls]


def test_a_disarming_after_the_decision_stops_the_effect(whole: Whole) -> None:
    """It was decided to act, and nothing is sent; the next look at the alert only observes."""
    _arm(whole, Mode.AUTO)
    target = whole.group()[0]
    whole.deliver(target)
    whole.dispatcher.dispatch()
    assert whole.only().state is State.ACTING
    _disarm(whole)
    whole.work()
    run = whole.only()
    assert (run.state, run.refusal, _operations(whole)) == (State.REFUSED, "disarmed", [])
    whole.pass_time(70)
    whole.deliver(target)
    whole.work()
    assert whole.runs()[0].state is State.OBSERVED
    assert _operations(whole) == []


def test_a_disarming_after_the_claim_stops_the_call(whole: Whole) -> None:
    """The last look is in the transaction right before it."""
    _arm(whole, Mode.AUTO)
    target = whole.group()[0]

    def claimed() -> bool:
        with whole.state.read() as connection:
            return bool(connection.execute(text("select count(*) from claims")).scalar_one())

    def trouble(operation: str, when: str) -> None:
        del when
        if operation == "DescribeInstances" and claimed():
            whole.aws.trouble = lambda _, __: None
            _disarm(whole, "web-asg")

    whole.aws.trouble = trouble
    whole.deliver(target)
    whole.work()
    assert (whole.only().refusal, _operations(whole)) == ("disarmed", [])


def test_what_waits_for_a_person_does_not_act_once_disarmed(whole: Whole) -> None:
    """An approval after the disarming leads to an observed run."""
    _arm(whole, Mode.APPROVE)
    whole.deliver(whole.group()[0])
    whole.work()
    run = whole.only()
    assert run.state is State.AWAITING_APPROVAL
    _disarm(whole)
    whole.approve("alice")
    whole.pass_time(60)
    assert (whole.only().state, _operations(whole)) == (State.OBSERVED, [])


def test_an_arming_that_was_lowered_asks_again(whole: Whole) -> None:
    """What was to act by itself needs a person now; what a person approved goes on."""
    _arm(whole, Mode.AUTO)
    first, second = whole.group()[0], whole.group("api-asg")[0]
    whole.deliver(first)
    whole.dispatcher.dispatch()
    _arm(whole, Mode.APPROVE)
    whole.work()
    assert (whole.only().refusal, _operations(whole)) == ("disarmed", [])
    whole.deliver(second, group="api-asg")
    whole.work()
    whole.approve("alice")
    whole.work()
    assert _operations(whole) == ["RebootInstances"]


def test_a_disarmed_playbook_still_gives_back_what_it_took(whole: Whole) -> None:
    """A scaling that did not help is rolled back, and no other step is performed."""
    _arm(whole, Mode.AUTO)
    target = whole.group()[0]
    whole.recovered = "0"
    whole.verdicts[target] = verdict(surging=True)
    whole.deliver(target)
    whole.work()
    assert _operations(whole) == ["SetDesiredCapacity"]
    _disarm(whole)
    whole.pass_time(120)
    assert whole.only().state is State.ROLLED_BACK
    assert _operations(whole) == ["SetDesiredCapacity"] * 2


def test_the_breaker_disarms_what_was_armed(tmp_path: Path) -> None:
    """For good: half an hour later nothing is tried until a person arms it again."""
    text_of = PLAYBOOK.replace("  - action: replace_instance\n", "")
    whole = Whole(tmp_path, playbook=text_of, arming_required=True)
    _arm(whole, Mode.AUTO)
    _arm(whole, Mode.APPROVE, "asg-9")
    whole.recovered = "0"
    targets = [whole.group(f"asg-{number}")[0] for number in range(5)]
    for number in range(3):
        whole.deliver(targets[number], group=f"asg-{number}")
        whole.pass_time(360)
    assert len(_operations(whole)) == 3
    with whole.state.read() as connection:
        (only,) = arming.armings_of(connection, "high-cpu")
        events = [record["event"] for record in log.records(connection)]
    assert (only.mode, only.service) == (Mode.OBSERVE, ALL)
    assert "breaker" in only.comment
    assert events.count("playbook_disarmed") == 1
    whole.service.refresh_gauges()
    labels = {"playbook": "high-cpu", "mode": "auto"}
    value = whole.registry.get_sample_value("smartcloudops_playbook_armed", labels)
    assert value == 0
    whole.pass_time(3_600)
    whole.deliver(targets[3], group="asg-3")
    whole.pass_time(60)
    assert whole.runs()[0].state is State.OBSERVED
    _arm(whole, Mode.AUTO)
    whole.deliver(targets[4], group="asg-4")
    whole.work()
    assert len(_operations(whole)) == 4
    whole.close()


def test_what_is_armed_for_one_service_acts_there_alone(tmp_path: Path) -> None:
    """In an environment where arming is required."""
    whole = Whole(tmp_path, arming_required=True)
    _arm(whole, Mode.AUTO, "web-asg")
    for group in ("api-asg", "web-asg"):
        whole.deliver(whole.group(group)[0], group=group)
        whole.work()
    assert {run.group_name: run.state for run in whole.runs()} == {
        "api-asg": State.OBSERVED,
        "web-asg": State.VERIFYING,
    }
    assert _operations(whole) == ["RebootInstances"]
    whole.close()


def test_disarming_all_disarms_each_service(whole: Whole) -> None:
    """One that was disarmed by name stays so when all the others are armed again."""
    _arm(whole, Mode.AUTO, "web-asg")
    _disarm(whole, "api-asg")
    _disarm(whole)
    whole.deliver(whole.group()[0])
    whole.work()
    assert (whole.only().state, _operations(whole)) == (State.OBSERVED, [])
    _arm(whole, Mode.AUTO)
    whole.deliver(whole.group("api-asg")[0], group="api-asg")
    whole.work()
    assert _operations(whole) == []
    whole.deliver(whole.group("db-asg")[0], group="db-asg")
    whole.work()
    assert _operations(whole) == ["RebootInstances"]
