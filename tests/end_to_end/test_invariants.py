"""Whatever happens in whatever order, this never does.

Two acts too close, too many out, an act against a person's word, an end that nobody can explain.
"""

import itertools
import tempfile
from pathlib import Path

import hypothesis.strategies as st
import structlog
from botocore.exceptions import ReadTimeoutError
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from actions.audit import log
from actions.execution import kill_switch
from demo.aws.calls import Call
from demo.aws.world import AwsError, Member
from models.inference.verdict import Answer
from receiver.controls import overrides
from receiver.controls.records import Effect, Override
from receiver.playbooks.matchers import parse
from receiver.runs.model import State
from receiver.workflow.approvals import NotNowError
from tests.end_to_end.whole_fixtures import Whole, verdict

_COOLDOWN_S, _BOOT_S = 300.0, 40.0
_HOSTS = st.integers(0, 11)
_INSTANCE_CALLS = frozenset({"RebootInstances", "TerminateInstanceInAutoScalingGroup"})


class CutOffError(BaseException):
    """The process ends here."""


class Receiver(RuleBasedStateMachine):
    """Two groups of six; at most one of each may be out at once."""

    @initialize()
    def begin(self) -> None:
        structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
        self.folder = tempfile.TemporaryDirectory()
        self.whole = Whole(Path(self.folder.name))
        self.hosts = [
            *((instance_id, "web-asg") for instance_id in self.whole.group("web-asg")),
            *((instance_id, "api-asg") for instance_id in self.whole.group("api-asg")),
        ]
        self.booting: dict[str, float] = {}
        self.ids = itertools.count()
        self.held: set[str] = set()
        self.paused = False
        self.fault: str | None = None
        self.whole.aws.trouble = self._trouble
        self.whole.aws.on_call = self._done

    def _trouble(self, operation: str, when: str) -> None:
        if operation.startswith(("Describe", "Lookup")) or self.fault is None:
            return
        fault, self.fault = self.fault, None
        match fault, when:
            case "throttled", "before":
                raise AwsError("Throttling", status=400)
            case "refused", "before":
                raise AwsError("IncorrectInstanceState", status=400)
            case "denied", "before":
                raise AwsError("UnauthorizedOperation", status=403)
            case "lost", "after":
                raise ReadTimeoutError(endpoint_url="x")
            case "broken", "after":
                raise AwsError("InternalError", status=500)
            case "cut off before", "before":
                raise CutOffError
            case "cut off after", "after":
                raise CutOffError
            case _:
                self.fault = fault

    def _done(self, call: Call) -> None:
        """What must hold at the very moment of an effect."""
        assert not self.paused
        if call.operation not in _INSTANCE_CALLS:
            assert call.target not in self.held
            return
        group = dict(self.hosts)[call.target]
        assert group not in self.held
        assert self.whole.verdicts.get(call.target, verdict()).answer is Answer.CONFIRMED
        out = [member for member, of in self.hosts if of == group and member in self.booting]
        assert not set(out) - {call.target}, "two of a group are out"
        earlier = [
            earlier_call
            for earlier_call in self.whole.aws.calls[:-1]
            if earlier_call.target == call.target
        ]
        runs = {run.id: run for run in self.whole.runs()}
        acting = [
            run for run in runs.values() if run.target == call.target and run.state is State.ACTING
        ]
        assert len(acting) == 1, "two runs act on a target"
        for earlier_call in earlier:
            same_run = earlier_call.time >= acting[0].received_at
            assert same_run or call.time - earlier_call.time >= _COOLDOWN_S, "within the cooldown"
            assert earlier_call.operation != call.operation or not same_run, "one step twice"
        self.booting[call.target] = call.time + _BOOT_S
        self._member(call.target).health = "Unhealthy"

    def _member(self, instance_id: str) -> Member:
        """As its group sees it, or a stranger once it is replaced."""
        group = self.whole.aws.world.group_of(instance_id)
        return group.members[instance_id] if group else Member(instance_id)

    def _work(self) -> None:
        """Work on, and start anew where the process was cut off."""
        while True:
            try:
                self.whole.work()
            except CutOffError:
                self.whole.start()
            else:
                return

    @rule(host=_HOSTS, surging=st.booleans())
    def fire(self, host: int, *, surging: bool) -> None:
        instance_id, group = self.hosts[host]
        current = self.whole.verdicts.get(instance_id)
        if surging and (current is None or current.answer is Answer.CONFIRMED):
            self.whole.verdicts[instance_id] = verdict(surging=True)
        self.whole.deliver(instance_id, group=group)
        self._work()

    @rule(host=_HOSTS)
    def resolve(self, host: int) -> None:
        instance_id, group = self.hosts[host]
        self.whole.deliver(instance_id, firing=False, group=group)

    @rule(host=_HOSTS, answer=st.sampled_from(list(Answer)))
    def judge(self, host: int, answer: Answer) -> None:
        instance_id, _ = self.hosts[host]
        flying = {run.target for run in self.whole.in_flight()}
        # What was decided stands for a minute: it does not change under the decision's feet here.
        if instance_id not in flying:
            self.whole.verdicts[instance_id] = verdict(answer)

    @rule(seconds=st.sampled_from([1, 10, 61, 120, 400]))
    def pass_time(self, seconds: int) -> None:
        until = self.whole.now + seconds
        while self.whole.now < until:
            self.whole.now = min(until, self.whole.now + 5)
            for instance_id, at in list(self.booting.items()):
                if at <= self.whole.now:
                    del self.booting[instance_id]
                    self._member(instance_id).health = "Healthy"
            self._work()

    @rule(recovered=st.sampled_from(["1", "0", None, "NaN"]))
    def measure(self, recovered: str | None) -> None:
        self.whole.recovered = recovered

    @rule(
        fault=st.sampled_from(
            [
                "throttled",
                "refused",
                "denied",
                "lost",
                "broken",
                "cut off before",
                "cut off after",
            ]
        )
    )
    def break_aws(self, fault: str) -> None:
        self.fault = fault

    @rule()
    def crash(self) -> None:
        self.whole.start()

    @rule(paused=st.booleans())
    def turn(self, *, paused: bool) -> None:
        self.paused = paused
        with self.whole.state.write() as connection:
            kill_switch.set_paused(
                connection, paused=paused, by="alice", comment="why", now=self.whole.now
            )

    @rule(group=st.sampled_from(["web-asg", "api-asg"]))
    def hold(self, group: str) -> None:
        self.held.add(group)
        override = Override(
            id=f"{next(self.ids):026d}",
            matchers=[parse(f'asg="{group}"')],
            effect=Effect.HOLD,
            starts_at=self.whole.now,
            ends_at=self.whole.now + 1e9,
            created_by="alice",
            comment="careful",
        )
        with self.whole.state.write() as connection:
            overrides.add(connection, override, self.whole.now)

    @precondition(lambda self: self.held)
    @rule()
    def let_go(self) -> None:
        self.held.clear()
        with self.whole.state.write() as connection:
            for override in overrides.list_current(connection, self.whole.now):
                overrides.end(connection, override.id, "alice", self.whole.now)

    @precondition(lambda self: self.whole.in_flight())
    @rule(how=st.sampled_from(["cancel", "roll_back"]))
    def intervene(self, how: str) -> None:
        run = self.whole.in_flight()[0]
        try:
            getattr(self.whole.commands, how)(run.id, "alice", "enough")
        except NotNowError:
            return
        self._work()

    @invariant()
    def the_audit_is_whole(self) -> None:
        with self.whole.state.read() as connection:
            assert log.verify(connection).ok

    def teardown(self) -> None:
        """Left alone, every alert ends in one explained state."""
        if not hasattr(self, "whole"):
            return
        self.turn(paused=False)
        self.let_go()
        self.fault = None
        for _ in range(3):
            self.pass_time(400)
        for run in self.whole.runs():
            assert run.state.ended, run
            assert run.outcome, run
            assert (run.refusal is not None) is (run.state is State.REFUSED), run
        self.whole.close()
        self.folder.cleanup()


Receiver.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestReceiver = Receiver.TestCase
