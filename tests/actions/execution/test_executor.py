"""A step is performed effectively once, whatever breaks and wherever it stops."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from sqlalchemy import Connection

from actions.audit import log
from actions.base import Outcome, StepResult
from actions.catalog.registry import CATALOG
from actions.execution import claims, kill_switch, ledger, rate_limits
from actions.execution.executor import Executor
from actions.execution.ledger import Intent, Stage
from actions.execution.rate_limits import Attempt, Counted
from actions.execution.records import Attempts, Scope
from actions.execution.step import Step
from actions.place import HOME
from actions.reasons import Reason
from actions.refusal import Refusal
from actions.step_key import StepKey, StepKind
from demo.aws.calls import Call
from demo.aws.clients import clients
from demo.aws.emulator import Emulator
from demo.aws.hardness import Hardness
from demo.aws.world import AwsError
from receiver.db.database import Database
from tests.conftest import Clock
from tests.emulated_aws import GROUP, HOST, emulated_aws, failing
from tests.executors import claim_request, executor
from tests.fake_messenger import FakeMessenger


class CrashError(BaseException):
    """The process ends here."""


def _reboot(run_id: str = "A" * 26, index: int = 0) -> Step:
    return Step(
        run_id=run_id,
        key=StepKey(StepKind.LADDER, index),
        action=CATALOG["reboot_instance"],
        target=HOST,
        params={},
        playbook="high-cpu",
        cooldown_s=300,
    )


def _scale(desired: int | str, run_id: str = "A" * 26) -> Step:
    return Step(
        run_id=run_id,
        key=StepKey(StepKind.LADDER, 0),
        action=CATALOG["set_desired_capacity"],
        target="web",
        params={"desired": desired},
        playbook="high-cpu",
        cooldown_s=300,
    )


def _reason(result: Intent | Refusal) -> Reason | None:
    return result.reason if isinstance(result, Refusal) else None


def _executed(result: Intent | Refusal) -> Intent:
    assert isinstance(result, Intent)
    return result


@pytest.fixture
def fake(clock: Clock) -> Emulator:
    return emulated_aws(clock)


@pytest.fixture
def acting(fake: Emulator, state: Database, clock: Clock) -> Executor:
    return executor(clients(fake), state.write, clock)


def test_a_reboot_is_one_call_that_names_its_run(acting: Executor, fake: Emulator) -> None:
    """CloudTrail shows the run in the user agent of the call."""
    intent = _executed(acting.execute(_reboot()))
    assert (intent.outcome, intent.stage) == (Outcome.CHANGED, Stage.SETTLED)
    assert fake.operations().count("RebootInstances") == 1
    assert {call.session for call in fake.log} == {"A" * 26}


def test_performing_again_does_nothing_more(acting: Executor, fake: Emulator) -> None:
    """The ledger answers for a step that is intent."""
    first = acting.execute(_reboot())
    assert acting.execute(_reboot()) == first
    assert fake.operations().count("RebootInstances") == 1


def test_another_run_meets_the_hold_and_then_the_cooldown(
    acting: Executor, fake: Emulator, state: Database, clock: Clock
) -> None:
    """A held target stays held however long it takes; released, its cooldown goes on."""
    acting.execute(_reboot())
    clock.now += 10_000
    assert _reason(acting.execute(_reboot("B" * 26))) is Reason.TARGET_BUSY
    with state.write() as connection:
        claims.release(connection, "A" * 26)
    assert isinstance(acting.execute(_reboot("B" * 26)), Intent)
    with state.write() as connection:
        claims.release(connection, "B" * 26)
    clock.now += 299
    assert _reason(acting.execute(_reboot("C" * 26))) is Reason.COOLDOWN
    clock.now += 1
    assert isinstance(acting.execute(_reboot("C" * 26)), Intent)
    assert fake.operations().count("RebootInstances") == 3


def test_two_hundred_threads_reboot_once(fake: Emulator, state: Database, clock: Clock) -> None:
    """Check and claim are one transaction."""
    acting = executor(clients(fake), state.write, clock)
    results: list[Intent | Refusal] = []

    def race(number: int) -> None:
        results.append(acting.execute(_reboot(f"{number:026d}")))

    threads = [threading.Thread(target=race, args=(number,)) for number in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fake.operations().count("RebootInstances") == 1
    assert [_reason(result) for result in results].count(Reason.TARGET_BUSY) == 199


@pytest.mark.parametrize(
    ("broken", "outcome", "error"),
    [
        (AwsError("UnauthorizedOperation"), Outcome.FAILED, "UnauthorizedOperation"),
        (AwsError("RequestLimitExceeded", status=503), Outcome.FAILED, "RequestLimitExceeded"),
        (AwsError("InternalError", status=500), Outcome.UNKNOWN, "InternalError"),
        (
            EndpointConnectionError(endpoint_url="http://x"),
            Outcome.FAILED,
            "EndpointConnectionError",
        ),
        (ReadTimeoutError(endpoint_url="http://x"), Outcome.UNKNOWN, "ReadTimeoutError"),
    ],
)
def test_a_reboot_that_breaks_is_never_repeated(
    acting: Executor,
    fake: Emulator,
    broken: Exception,
    outcome: Outcome,
    error: str,
) -> None:
    """Refused is failed, unanswered is unknown, and neither is tried again."""
    fake.trouble = failing(broken)
    intent = _executed(acting.execute(_reboot()))
    assert (intent.outcome, intent.error) == (outcome, error)
    acting.execute(_reboot())
    assert fake.operations().count("RebootInstances") == 1


@pytest.mark.parametrize("executes", [True, False])
def test_a_scaling_without_an_answer_is_read_back(
    acting: Executor, fake: Emulator, clock: Clock, *, executes: bool
) -> None:
    """What AWS shows says whether it happened; that it did not, only after two minutes."""
    fake.trouble = failing(ReadTimeoutError(endpoint_url="http://x"), executes=executes)
    intent = _executed(acting.execute(_scale(9)))
    assert intent.outcome is (Outcome.CHANGED if executes else Outcome.UNKNOWN)
    clock.now += 119
    assert acting.settle_lost(_scale(9), intent) == intent
    clock.now += 1
    settled = acting.settle_lost(_scale(9), intent)
    assert settled.outcome is (Outcome.CHANGED if executes else Outcome.FAILED)


def test_a_lost_scaling_that_is_shown_late_happened(
    acting: Executor, fake: Emulator, clock: Clock
) -> None:
    """And as soon as it is shown: nobody waits for the two minutes."""
    fake.core.hardness = Hardness(lag_s=60.0)
    fake.pass_time()
    fake.trouble = failing(ReadTimeoutError(endpoint_url="http://x"), executes=True)
    intent = _executed(acting.execute(_scale(9)))
    clock.now += 50
    assert acting.settle_lost(_scale(9), intent).outcome is Outcome.UNKNOWN
    clock.now += 20
    assert acting.settle_lost(_scale(9), intent).outcome is Outcome.CHANGED


@pytest.mark.parametrize(
    ("action", "within_s"),
    [
        ("stop_instance", 300.0),
        ("quarantine_instance", 300.0),
        ("enter_standby", 120.0),
        ("deregister_target", 120.0),
        ("restart_service", 120.0),
        ("notify", 15.0),
    ],
)
def test_each_service_has_its_time_to_show_a_call(action: str, within_s: float) -> None:
    """EC2 takes the longest: its guide has callers ask for minutes."""
    assert CATALOG[action].shown_within_s == within_s


@pytest.mark.parametrize("before_call", [True, False])
def test_a_step_that_never_ran_uses_up_no_attempt(
    acting: Executor, fake: Emulator, state: Database, clock: Clock, *, before_call: bool
) -> None:
    """Refused by AWS, or by what was read before the call."""
    fake.trouble = failing(AwsError("Throttling"), executes=False)
    if before_call:
        fake.world.instances[HOST].state = "stopped"
    intent = _executed(acting.execute(_reboot()))
    assert (intent.outcome, intent.result) == (Outcome.FAILED, StepResult.NEVER_RAN)
    with state.read() as connection:
        assert not rate_limits.is_recorded(connection, intent.run_id)
        attempts = rate_limits.count(
            connection,
            Counted(place=HOME, target=HOST, group="", playbook="high-cpu"),
            clock(),
        )
    assert attempts.target_hour == 0


@pytest.mark.parametrize("code", ["ValidationError", "Throttling"])
@pytest.mark.parametrize(("retried", "outcome"), [(0, Outcome.FAILED), (2, Outcome.CHANGED)])
def test_a_refused_scaling_is_read_back_after_other_attempts(
    acting: Executor, fake: Emulator, code: str, retried: int, outcome: Outcome
) -> None:
    """An attempt of the SDK may have gone through; without one, somebody else scaled the group."""
    metadata = {"HTTPStatusCode": 400, "RetryAttempts": retried}
    answer = {"Error": {"Code": code, "Message": ""}, "ResponseMetadata": metadata}
    fake.trouble = failing(ClientError(answer, "SetDesiredCapacity"))  # type: ignore[arg-type] # without the request's id
    assert _executed(acting.execute(_scale(9))).outcome is outcome
    assert fake.world.groups[GROUP].desired == 9


def test_a_group_and_its_instances_are_not_held_by_two(acting: Executor, fake: Emulator) -> None:
    """While one run holds the group, no other reboots a member; nor the other way round."""
    acting.execute(_scale("+2", "A" * 26))
    member = replace(_reboot("B" * 26), must_be_free=("web",))
    assert _reason(acting.execute(member)) is Reason.TARGET_BUSY
    assert "RebootInstances" not in fake.operations()


@pytest.mark.parametrize(
    ("desired", "becomes"),
    [(8, 8), ("+2", 8), ("+50%", 9), ("+40%", 9), (100, 12)],
)
def test_capacity_is_made_absolute_and_kept_in_bounds(
    acting: Executor, fake: Emulator, desired: int | str, becomes: int
) -> None:
    """Six members, at least four and at most twelve."""
    acting.execute(_scale(desired))
    assert fake.world.groups[GROUP].desired == becomes


def test_a_group_is_never_made_smaller(acting: Executor, fake: Emulator) -> None:
    """Fewer instances are another action, with another price."""
    intent = _executed(acting.execute(_scale(5)))
    assert (intent.outcome, fake.world.groups[GROUP].desired) == (Outcome.FAILED, 6)


def test_a_group_at_its_bound_is_not_scaled(acting: Executor, fake: Emulator) -> None:
    """Nothing to gain is said, not called a success."""
    fake.world.groups[GROUP].desired = 12
    intent = _executed(acting.execute(_scale("+2")))
    assert intent.outcome is Outcome.FAILED
    assert "bound" in (intent.error or "")
    assert "SetDesiredCapacity" not in fake.operations()


def test_what_is_so_already_is_left(acting: Executor, fake: Emulator) -> None:
    """The wished state holds: no call."""
    assert _executed(acting.execute(_scale(6))).outcome is Outcome.NOOP
    assert "SetDesiredCapacity" not in fake.operations()


def test_a_stopped_instance_is_not_rebooted(acting: Executor, fake: Emulator) -> None:
    """Rebooting a stopped instance is no remedy."""
    fake.world.instances[HOST].state = "stopped"
    assert _executed(acting.execute(_reboot())).outcome is Outcome.FAILED
    assert "RebootInstances" not in fake.operations()


def test_a_crash_during_the_call_leaves_an_unknown_reboot_and_a_known_scaling(
    acting: Executor, fake: Emulator
) -> None:
    """After a restart the reboot is unknown and not repeated; the group is read and settled."""
    fake.trouble = failing(CrashError())
    scaling = _scale("+2", "B" * 26)
    for step in (_reboot(), scaling):
        with pytest.raises(CrashError):
            acting.execute(step)
    fake.trouble = lambda *_: None
    assert _executed(acting.execute(_reboot())).outcome is Outcome.UNKNOWN
    assert _executed(acting.execute(scaling)).outcome is Outcome.CHANGED
    assert (fake.operations().count("RebootInstances"), fake.world.groups[GROUP].desired) == (1, 8)


def _cut_off(acting: Executor, fake: Emulator, step: Step, clock: Clock) -> None:
    """The process ends before the call is sent; it is continued after ten minutes."""
    fake.trouble = failing(CrashError(), executes=False)
    with pytest.raises(CrashError):
        acting.execute(step)
    fake.trouble = lambda *_: None
    clock.now += 600


@pytest.mark.parametrize(("action", "desired"), [("set_desired_capacity", "+2"), ("scale_in", -1)])
def test_what_a_policy_wants_since_the_crash_stays(
    acting: Executor, fake: Emulator, clock: Clock, action: str, desired: int | str
) -> None:
    """Traffic came: the repeated call would terminate members that serve it."""
    params = {"desired": str(desired)}
    step = replace(_scale(0), action=CATALOG[action], params=params)
    _cut_off(acting, fake, step, clock)
    fake.world.groups[GROUP].desired = 11
    assert _executed(acting.execute(step)).outcome is not Outcome.CHANGED
    assert fake.world.groups[GROUP].desired == 11


def _protect(fake: Emulator) -> None:
    fake.world.groups[GROUP].members[_MEMBER].protected = True


def _stand_by(fake: Emulator) -> None:
    fake.world.groups[GROUP].members[_MEMBER].lifecycle = "Standby"


def _suspend(fake: Emulator) -> None:
    fake.world.groups[GROUP].suspended.add("Launch")


def _go_away(fake: Emulator) -> None:
    """AWS does not answer."""

    def trouble(operation: str, _: str) -> None:
        if operation == "DescribeInstances":
            raise AwsError("InternalError", status=500)

    fake.trouble = trouble


_MEMBER = f"i-{0:017x}"


@pytest.mark.parametrize("happens", [_protect, _stand_by, _suspend, _go_away])
def test_what_a_person_did_since_the_crash_is_minded(
    acting: Executor, fake: Emulator, clock: Clock, happens: Callable[[Emulator], None]
) -> None:
    """A call is repeated only where the target's state still allows it."""
    step = replace(_reboot(), action=CATALOG["replace_instance"], target=_MEMBER, group=GROUP)
    _cut_off(acting, fake, step, clock)
    happens(fake)
    before = fake.operations().count("TerminateInstanceInAutoScalingGroup")
    assert _executed(acting.execute(step)).outcome is not Outcome.CHANGED
    assert fake.operations().count("TerminateInstanceInAutoScalingGroup") == before


def test_a_call_that_is_still_possible_is_repeated(
    acting: Executor, fake: Emulator, clock: Clock
) -> None:
    """Nothing has changed since the crash."""
    step = replace(_reboot(), action=CATALOG["replace_instance"], target=_MEMBER, group=GROUP)
    _cut_off(acting, fake, step, clock)
    assert _executed(acting.execute(step)).outcome is Outcome.CHANGED


@dataclass(kw_only=True)
class _Cut(FakeMessenger):
    """Whoever calls it ends while the call is on its way; an answer takes `read_s`."""

    clock: Clock
    read_s: float

    def create_silence(self, matchers: Mapping[str, str], *, lasts_s: float, comment: str) -> str:
        del matchers, lasts_s, comment
        raise CrashError

    def find_silences(self, comment: str) -> Sequence[str]:
        self.clock.now += self.read_s
        return super().find_silences(comment)


@pytest.mark.parametrize(
    ("age_s", "read_s", "outcome"),
    [(14.0, 0.0, Outcome.UNKNOWN), (14.0, 5.0, Outcome.UNKNOWN), (16.0, 0.0, Outcome.FAILED)],
    ids=["young", "young when the read began", "old"],
)
def test_a_call_that_may_still_arrive_has_not_failed(
    state: Database, clock: Clock, age_s: float, read_s: float, outcome: Outcome
) -> None:
    """Whoever takes over sees nothing done yet: that proves nothing while the call is young."""
    messenger = _Cut(clock=clock, read_s=read_s)
    acting = executor(clients(emulated_aws(clock)), state.write, clock, messenger)
    step = replace(_reboot(), action=CATALOG["create_silence"], params={"alertnames": ["HighCPU"]})
    with pytest.raises(CrashError):
        acting.execute(step)
    clock.now += age_s
    assert _executed(acting.execute(step)).outcome is outcome


def test_what_has_no_group_is_in_none_together(state: Database, clock: Clock) -> None:
    """Attempts count by target, group and playbook, each over its own time."""
    with state.write() as connection:
        for number, (target, group, age_s) in enumerate(
            [("i-1", "", 10), ("i-2", "", 20), ("i-2", "", 4_000), ("i-3", "web", 30)]
        ):
            run_id, at = f"{number:026d}", clock() - age_s
            rate_limits.record(
                connection,
                Attempt(
                    run_id=run_id,
                    place=HOME,
                    step=StepKey(StepKind.LADDER, 0),
                    target=target,
                    group=group,
                    playbook="high-cpu",
                    at=at,
                ),
            )

        def count(target: str, group: str) -> Attempts:
            return rate_limits.count(
                connection,
                Counted(place=HOME, target=target, group=group, playbook="high-cpu"),
                clock(),
            )

        assert count("i-2", "") == Attempts(
            target_hour=1, target_day=2, group_hour=0, playbook_hour=3
        )
        assert count("i-1", "web").group_hour == 1


def _interrupted(clock: Clock, happens: Callable[[], None]) -> Emulator:
    """`happens` once while the step is observed: after its claim, before its call."""
    aws, left = emulated_aws(clock), [happens]

    def trouble(operation: str, _: str) -> None:
        # The first time, before the claim, the instances outside groups are counted.
        again = aws.operations().count("DescribeInstances") == 1
        if operation == "DescribeInstances" and again and left:
            left.pop()()

    aws.trouble = trouble
    return aws


def _refused(state: Database, clock: Clock, fake: Emulator) -> Reason:
    result = executor(clients(fake), state.write, clock).execute(_reboot())
    assert isinstance(result, Refusal)
    assert "RebootInstances" not in fake.operations()
    with state.read() as connection:
        intent = ledger.read_intent(connection, "A" * 26, StepKey(StepKind.LADDER, 0))
        events = [row["event"] for row in log.records(connection, run_id="A" * 26)]
    assert intent is not None
    assert (intent.stage, intent.outcome, intent.dispatched_at) == (
        Stage.SETTLED,
        Outcome.FAILED,
        None,
    )
    assert events == ["step_observed", "step_intent", "claimed"]
    return result.reason


def test_a_pause_stops_a_claimed_step_before_its_call(state: Database, clock: Clock) -> None:
    """The switch is read again right before the call."""

    def pause() -> None:
        with state.write() as connection:
            kill_switch.set_paused(connection, paused=True, by="alice", comment="stop", now=clock())

    assert _refused(state, clock, _interrupted(clock, pause)) is Reason.PAUSED


def test_a_pause_stops_a_step_before_its_claim(
    acting: Executor, fake: Emulator, state: Database, clock: Clock
) -> None:
    """Nothing of the step is on record then."""
    with state.write() as connection:
        kill_switch.set_paused(connection, paused=True, by="alice", comment="stop", now=clock())
    assert _reason(acting.execute(_reboot())) is Reason.PAUSED
    assert "RebootInstances" not in fake.operations()


def test_a_claim_that_another_run_took_since_does_not_act(state: Database, clock: Clock) -> None:
    """Its fence is not the current one."""

    def overtake() -> None:
        with state.write() as connection:
            claims.release(connection, "A" * 26)
            clock.now += 301
            request = claim_request(HOST, "B" * 26)
            assert isinstance(claims.acquire(connection, request, clock()), int)

    assert _refused(state, clock, _interrupted(clock, overtake)) is Reason.TARGET_BUSY


def test_scopes_read_a_moment_ago_are_not_read_again(acting: Executor, fake: Emulator) -> None:
    """What they forbid is forbidden all the same."""
    full = Scope(
        name="group web-asg",
        members=frozenset({HOST, "i-2"}),
        out=frozenset({"i-2"}),
        limit=1,
        floor=1,
    )
    recent = replace(acting, recent_scopes=lambda *_: [full])
    step = replace(_reboot(), group="web-asg")
    assert _reason(recent.execute(step)) is Reason.MIN_HEALTHY
    assert "DescribeAutoScalingGroups" not in fake.operations()


def test_a_group_that_aws_does_not_show_whole_is_no_free_pass(
    acting: Executor, fake: Emulator
) -> None:
    """How many of it are out of service is unknown: the step takes none out."""

    def shorten(call: Call, answer: dict[str, Any]) -> None:
        if call.operation == "DescribeAutoScalingGroups":
            del answer["AutoScalingGroups"][0]["TargetGroupARNs"]

    fake.on_answer = shorten
    result = acting.execute(replace(_reboot(), group=GROUP))
    assert isinstance(result, Refusal)
    assert result.reason is Reason.STATE_UNKNOWN
    assert "lacks 'TargetGroupARNs'" in result.detail
    assert "RebootInstances" not in fake.operations()


def test_every_stage_is_in_the_audit(acting: Executor, state: Database) -> None:
    """Claim, intent, call and outcome, in this order, under the run's id."""
    acting.execute(_reboot())
    with state.read() as connection:
        records = log.records(connection, run_id="A" * 26)
        assert log.verify(connection).ok
    events = [row["event"] for row in reversed(records)]
    assert events == ["claimed", "step_intent", "step_dispatched", "step_observed"]


def test_the_dispatch_is_on_disk_before_anything_is_sent(
    acting: Executor, fake: Emulator, state: Database
) -> None:
    """What came of it may be lost with the power: AWS is asked what happened."""
    synced = list[bool]()

    @contextmanager
    def begin(*, synced: bool = True, seen: list[bool] = synced) -> Iterator[Connection]:
        with state.write(synced=synced) as connection:
            yield connection
        seen.append(synced)

    def at_call(operation: str, when: str) -> None:
        if (operation, when) == ("RebootInstances", "before"):
            assert synced[-1]
            synced.clear()

    fake.trouble = at_call
    _executed(replace(acting, begin=begin).execute(_reboot()))
    assert synced == [False]
