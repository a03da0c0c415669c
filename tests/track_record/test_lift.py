"""What hold-outs say about acting: the truth lies in the interval as often as it promises."""

import math
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.inference.verdict import Answer
from receiver.decision.holdout import in_share
from receiver.runs import feedback
from receiver.runs.model import Acknowledgement, Arm, Run, RunRequest, State
from receiver.settings import Mode
from receiver.track_record.lift import Lift, Outcome, lift, read_outcomes
from tests.end_to_end.whole_fixtures import Whole, verdict

_WAIT_S = 600.0
_PLAYBOOK = """
name: high-cpu
match: ['alertname="HighCPU"']
mode: auto
limits: {target_per_day: 99, target_per_hour: 99, group_per_hour: 99}
holdout: {share: SHARE, wait: 10m}
steps: [{action: reboot_instance}]
verify: {expr: recovered, for: 10s, timeout: 60s}
"""


def _simulated(seed: int, *, natural_s: float, helps: float, incidents: int = 200) -> Lift:
    """Incidents that end by themselves after `natural_s` on average, or sooner by an act.

    An act helps with this probability, after two minutes; else nature goes on.
    """
    rolls = random.Random(seed)  # noqa: S311 no secret
    outcomes = []
    for number in range(incidents):
        arm = Arm.HELD if in_share(f"{seed}-{number}", 20.0) else Arm.ACTED
        over_s = rolls.expovariate(1 / natural_s)
        if arm is Arm.ACTED and rolls.random() < helps:
            over_s = min(over_s, 120.0)
        after_s = over_s if over_s < _WAIT_S else None
        outcomes.append(Outcome(arm=arm, wait_s=_WAIT_S, after_s=after_s))
    found = lift(outcomes)
    assert found is not None
    return found


def _mean_until(limit_s: float, natural_s: float) -> float:
    """The mean of an exponential time, cut off at a limit."""
    return natural_s * (1 - math.exp(-limit_s / natural_s))


@pytest.mark.parametrize(("natural_s", "helps"), [(600.0, 0.8), (3_600.0, 0.9), (300.0, 0.0)])
def test_the_interval_covers_the_truth(natural_s: float, helps: float) -> None:
    """95 % of 200 seeds are 190; below 182 an interval is too narrow, beyond chance."""
    still_ill = math.exp(-_WAIT_S / natural_s)
    recovery = helps * still_ill
    sooner_s = helps * (_mean_until(_WAIT_S, natural_s) - _mean_until(120.0, natural_s))
    covered = {"recovery": 0, "sooner_s": 0}
    for seed in range(200):
        found = _simulated(seed, natural_s=natural_s, helps=helps)
        for name, truth in (("recovery", recovery), ("sooner_s", sooner_s)):
            difference = getattr(found, name)
            covered[name] += difference.low <= truth <= difference.high
    assert all(count >= 182 for count in covered.values()), covered


def test_an_act_that_prolongs_faults_is_found() -> None:
    found = lift(
        [
            Outcome(arm=arm, wait_s=_WAIT_S, after_s=after_s)
            for arm, after_s in ((Arm.ACTED, None), (Arm.HELD, 60.0))
            for _ in range(10)
        ]
    )
    assert found is not None
    assert found.harms
    assert found.recovery is not None
    assert found.sooner_s is not None
    assert (found.recovery.value, found.sooner_s.value) == (-1.0, -540.0)
    assert -600.0 <= found.sooner_s.low < -540.0 < found.sooner_s.high < -300.0


def test_too_few_incidents_say_nothing() -> None:
    few = [Outcome(arm=Arm.HELD, wait_s=_WAIT_S, after_s=None)] * 9
    assert lift([*few, *(Outcome(arm=Arm.ACTED, wait_s=_WAIT_S, after_s=30.0),) * 99]) == Lift(
        acted=99, held=9, wait_s=_WAIT_S
    )
    assert lift([]) is None


@pytest.fixture
def always(tmp_path: Path) -> Iterator[Whole]:
    """Whole services by the share of their hold-out; closed at the end."""
    whole = Whole(tmp_path, playbook=_PLAYBOOK.replace("SHARE", "50%"))
    yield whole
    whole.close()


def _send(whole: Whole, target: str, *, firing: bool = True, **labels: str) -> None:
    own = {"alertname": "HighCPU", "instance_id": target, "asg": "web-asg", "severity": "warning"}
    whole.deliver_labels(own | labels, firing=firing, began_s=0)


def _deliver(whole: Whole, target: str, *, firing: bool = True, **labels: str) -> Run:
    _send(whole, target, firing=firing, **labels)
    whole.work()
    return whole.runs()[0]


def _until_arm(whole: Whole, arm: Arm) -> tuple[str, Run]:
    """The first incident of this arm; those of the other end before."""
    for target in whole.group(size=12):
        run = _deliver(whole, target)
        assert run.holdout is not None
        if run.holdout.arm is arm:
            return target, run
        whole.pass_time(700)
        _deliver(whole, target, firing=False)
        whole.now += 3_600
    raise AssertionError


def _outcomes(whole: Whole, arm: Arm) -> list[Outcome]:
    with whole.state.read() as connection:
        found = read_outcomes(connection, since=0.0, now=whole.now)
    return [outcome for outcome in found.get("high-cpu", ()) if outcome.arm is arm]


def test_a_held_out_incident_waits_and_is_acted_on(always: Whole) -> None:
    """Nothing is sent for ten minutes; then the fault that goes on is acted on."""
    target, run = _until_arm(always, Arm.HELD)
    calls = len(always.aws.calls)
    assert (run.state, run.gates[-1].name) == (State.DECIDING, "holdout")
    assert run.gates[-1].detail == "held out: it waits 10 min, and is then decided again"
    always.pass_time(590)
    assert len(always.aws.calls) == calls
    # A run that waits is not stuck: nobody is paged for it.
    always.service.refresh_gauges()
    labels = {"state": "deciding"}
    oldest_s = always.registry.get_sample_value("smartcloudops_oldest_run_seconds", labels)
    assert oldest_s == 0
    # The repeats of the alert.
    _deliver(always, target)
    always.pass_time(120)
    assert [call.operation for call in always.aws.calls][calls:] == ["RebootInstances"]
    assert always.runs()[0].state is State.SUCCEEDED
    always.now += 3_600
    assert _outcomes(always, Arm.HELD)[-1].after_s is None


def test_a_fault_that_ends_by_itself_meanwhile_is_left_alone(always: Whole) -> None:
    target, run = _until_arm(always, Arm.HELD)
    calls = len(always.aws.calls)
    always.now += 240
    _deliver(always, target, firing=False)
    always.verdicts[target] = verdict(Answer.REFUTED)
    always.pass_time(400)
    ended = next(each for each in always.runs() if each.id == run.id)
    assert (ended.steps_begun, ended.state.ended, len(always.aws.calls)) == (0, True, calls)
    always.now += 3_600
    assert _outcomes(always, Arm.HELD)[-1].after_s == pytest.approx(240.0)


def test_a_fault_that_a_reboot_hides_for_ten_minutes_is_a_relapse(always: Whole) -> None:
    """It is no recovery, neither in the lift nor in the playbook's record."""
    target, run = _until_arm(always, Arm.ACTED)
    always.pass_time(120)
    assert always.runs()[0].state is State.SUCCEEDED
    _deliver(always, target, firing=False)
    always.now += 600
    _deliver(always, target)
    always.now += 3_600
    first = next(each for each in always.runs() if each.id == run.id)
    assert first.relapsed_by is not None
    assert _outcomes(always, Arm.ACTED)[0].after_s is None


@pytest.mark.parametrize(
    "what", ["critical", "unnamed", "by hand", "acknowledged", "approved", "undecided"]
)
def test_nothing_that_may_matter_waits(tmp_path: Path, what: str) -> None:
    """Neither what is critical, nor what a person ordered or approved, nor what is unconfirmed."""
    text = _PLAYBOOK.replace("SHARE", "50%") + "undecided: {reversible: act}\n"
    if what == "by hand":
        text = text.replace("match: [", """match: ['severity="warning"', """)
    if what == "undecided":
        text = text.replace("reboot_instance", 'set_desired_capacity, params: {desired: "+1"}')
    mode = Mode.APPROVE if what == "approved" else Mode.AUTO
    whole = Whole(tmp_path, playbook=text, mode=mode)
    (target, *_) = whole.group()
    if what == "undecided":
        whole.verdicts[target] = verdict(Answer.UNDECIDED)
    if what == "by hand":
        ordered = RunRequest(
            by="alice",
            role="operator",
            comment="now",
            playbook="high-cpu",
            target=target,
            dry_run=False,
        )
        whole.service.manual_runs.start(ordered)
        whole.work()
    else:
        severities = {"critical": "critical", "unnamed": ""}
        _send(whole, target, severity=severities.get(what, "warning"))
        if what == "acknowledged":
            with whole.state.write() as connection:
                given = Acknowledgement(by="alice", comment="I am on it", at=whole.now)
                feedback.acknowledge(connection, whole.only(), given)
        whole.work()
    if what == "approved":
        whole.approve("alice")
        whole.work()
    run = whole.only()
    assert (run.holdout, run.state) == (None, State.VERIFYING)
    whole.close()
