"""Whatever happens in whatever order, this never does.

Two acts too close, too many out, an act against a person's word, a heavier act without evidence
that the lighter one ran and failed, an end that nobody can explain, something lent that nobody
owes.
"""

import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import structlog
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from actions.audit import log
from actions.base import Outcome, StepResult
from actions.execution import debts, kill_switch, ledger
from actions.execution.ledger import Intent
from actions.step_key import StepKind
from demo.aws.calls import Call
from demo.aws.hardness import harsh
from demo.aws.world import AwsError, Member
from models.inference.verdict import Answer
from receiver.controls import overrides
from receiver.controls.records import Effect, Override
from receiver.playbooks.matchers import parse
from receiver.runs.model import State
from receiver.workflow.approvals import NotNowError
from tests.end_to_end.whole_fixtures import Whole, verdict

_COOLDOWN_S, _BOOT_S = 300.0, 40.0
_REPEATED_S = 240.0
# A command expires after six minutes, and AWS may end it ten minutes later.
_ENDS_WITHIN_S = 4_800
# Steps of time: while phases wait, and while nothing does.
_BUSY_S, _IDLE_S = 5, 20
# Nothing here has to outlive the machine.
_MEMORY = Path("/dev/shm")  # noqa: S108 a folder of its own is made there
_HOSTS = st.integers(0, 11)
_INSTANCE_CALLS = ("RebootInstances", "TerminateInstanceInAutoScalingGroup")
_GROUPS = ("web-asg", "api-asg")
_LADDER = """
name: high-cpu
match: ['alertname="HighCPU"']
mode: auto
cooldown: 5m
steps:
  - action: set_desired_capacity
    params: {desired: "+50%"}
    when: group.surging
  - action: restart_service
    params: {service: app}
  - action: reboot_instance
    before: [{action: suspend_processes, params: {processes: [ReplaceUnhealthy]}}]
  - action: replace_instance
verify: {expr: recovered, for: 10s, timeout: 60s}
rollback: true
"""
# Details of a command that ran to its end.
_RAN = frozenset({"Success", "Failed", "ExecutionTimedOut"})
# Refusals with their status: one of each category.
_REFUSALS = {
    "IncorrectInstanceState": 400,
    "InvalidDocument": 400,
    "LimitExceeded": 400,
    "RequestTimeTooSkewed": 403,
    "ResourceContention": 500,
    "Throttling": 400,
    "UnauthorizedOperation": 403,
}


_OPERATIONS = st.sampled_from(
    [
        "ResumeProcesses",
        "SendCommand",
        "SetDesiredCapacity",
        "SuspendProcesses",
        *_INSTANCE_CALLS,
    ]
)
_FAULTS = st.sampled_from(
    [*_REFUSALS, "never sent", "lost", "broken", "cut off before", "cut off after"]
)


class CutOffError(BaseException):
    """The process ends here."""


class ViolationError(BaseException):
    """What an effect must not be; the service goes on after any Exception."""


class Receiver(RuleBasedStateMachine):
    """Two groups of six; at most one of each may be out at once."""

    @initialize(seed=st.integers(0, 1_000), recovered=st.sampled_from(["0", "0", "1"]))
    def begin(self, seed: int, recovered: str) -> None:
        structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
        self.folder = tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None)
        self.whole = Whole(Path(self.folder.name), _LADDER)
        # Whether a member is healthy is said here, not by the group's own checks.
        hardness = replace(harsh(seed), heals=False, burst=0, lag_s=0.0)
        self.whole.aws.core.hardness = hardness
        self.hosts = [
            *((instance_id, "web-asg") for instance_id in self.whole.group("web-asg")),
            *((instance_id, "api-asg") for instance_id in self.whole.group("api-asg")),
        ]
        self.booting: dict[str, float] = {}
        self.ids = itertools.count()
        self.held: set[str] = set()
        self.paused = False
        # What people suspended.
        self.wished: dict[str, set[str]] = {group: set() for group in _GROUPS}
        self.faults: dict[str, str] = {}
        self.firing: set[int] = set()
        self.repeated_at = self.whole.now
        self.whole.recovered = recovered
        self.measured: list[tuple[float, str | None]] = [(self.whole.now, recovered)]
        self.whole.aws.trouble = self._trouble
        self.whole.aws.on_call = self._judge_effect

    def _trouble(self, operation: str, when: str) -> None:
        fault = self.faults.pop(operation, None)
        match fault, when:
            case None, _:
                pass
            case refusal, "before" if refusal in _REFUSALS:
                raise AwsError(refusal, status=_REFUSALS[refusal])
            case "never sent", "before":
                raise EndpointConnectionError(endpoint_url="x")
            case "lost", "after":
                raise ReadTimeoutError(endpoint_url="x")
            case "broken", "after":
                raise AwsError("InternalError", status=500)
            case "cut off before", "before":
                raise CutOffError
            case "cut off after", "after":
                raise CutOffError
            case _:
                self.faults[operation] = fault

    def _judge_effect(self, call: Call) -> None:
        try:
            self._done(call)
        except AssertionError as error:
            raise ViolationError(str(error)) from error

    def _done(self, call: Call) -> None:
        """What must hold at the very moment of an effect."""
        if call.operation in {"ResumeProcesses", "SetInstanceHealth"}:
            self._given_back(call)
            return
        steps = self._steps_of(call)
        current = next((step for step in steps if step.outcome is None and step.fence), None)
        if call.operation == "CancelCommand" or (current and current.undoes is not None):
            # No stop keeps what a step began, or what it changed.
            return
        assert not self.paused, "an act in a pause"
        if current is not None and current.step.kind is StepKind.LADDER:
            self._check_evidence(call, current, steps)
        if call.operation not in _INSTANCE_CALLS:
            held = self.held & {call.target, dict(self.hosts).get(call.target)}
            assert not held, "an act in a hold"
            return
        group = dict(self.hosts)[call.target]
        assert group not in self.held, "an act in a hold"
        answer = self.whole.verdicts.get(call.target, verdict()).answer
        assert answer is Answer.CONFIRMED, f"an act on a verdict {answer}"
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

    def _steps_of(self, call: Call) -> Sequence[Intent]:
        with self.whole.state.read() as connection:
            return ledger.intents_by_run(connection, [call.session]).get(call.session, ())

    def _check_evidence(self, call: Call, current: Intent, steps: Sequence[Intent]) -> None:
        """Each other step that the run took before ran to its end, and metrics showed the fault."""
        ladder = [step for step in steps if step.step.kind is StepKind.LADDER]
        lighter = {step.action: step for step in ladder if step.action != current.action}
        for step in lighter.values():
            assert step.result is StepResult.DID_NOT_HELP, "a heavier step without evidence"
            assert step.outcome is not Outcome.UNKNOWN, "whether the lighter one ran is unknown"
            began, ended = step.dispatched_at or 0.0, call.time
            shown = [value for at, value in self.measured if at <= began][-1:]
            shown += [value for at, value in self.measured if began < at <= ended]
            assert "0" in shown, "metrics never showed the fault after the lighter step"
            if step.action == "restart_service":
                (sent,) = [
                    command
                    for command in self.whole.aws.world.commands
                    if command["Comment"] == step.step.token(step.run_id)
                ]
                assert sent["StatusDetails"] in _RAN, "a heavier step while the lighter one ran"

    def _given_back(self, call: Call) -> None:
        """No stop keeps what was lent, and nobody is terminated for it."""
        if call.operation == "SetInstanceHealth":
            targets = {run.target for run in self.whole.runs()}
            assert call.parameters["InstanceId"] in targets, "the health of a stranger is set"
            return
        group = self.whole.aws.world.groups[call.parameters["AutoScalingGroupName"]]
        resumed = set(call.parameters["ScalingProcesses"])
        assert not resumed & self.wished[group.name], "what a person suspended is resumed"
        serving = [one for one in group.members.values() if one.lifecycle == "InService"]
        healthy = all(member.health == "Healthy" for member in serving)
        assert healthy, "a member is terminated once processes are resumed"

    def _member(self, instance_id: str) -> Member:
        """As its group sees it, or a stranger once it is replaced."""
        group = self.whole.aws.world.group_of(instance_id)
        return group.members[instance_id] if group else Member(instance_id)

    def _work(self) -> None:
        """Work on, and start anew where the process was cut off."""
        while True:
            try:
                self.whole.debts.run_once()
                self.whole.work()
            except CutOffError:
                self.whole.start()
            except ViolationError as violation:
                raise AssertionError(str(violation)) from violation
            else:
                return

    @rule(host=_HOSTS, surging=st.booleans())
    def fire(self, host: int, *, surging: bool) -> None:
        instance_id, group = self.hosts[host]
        current = self.whole.verdicts.get(instance_id)
        if surging and (current is None or current.answer is Answer.CONFIRMED):
            self.whole.verdicts[instance_id] = verdict(surging=True)
        self.whole.deliver(instance_id, group=group)
        self.firing.add(host)
        self._work()

    @rule(host=_HOSTS)
    def resolve(self, host: int) -> None:
        instance_id, group = self.hosts[host]
        self.whole.deliver(instance_id, firing=False, group=group)
        self.firing.discard(host)

    @rule(
        group=st.sampled_from(_GROUPS),
        process=st.sampled_from(["AZRebalance", "ReplaceUnhealthy"]),
        suspend=st.booleans(),
    )
    def change_by_hand(self, group: str, process: str, *, suspend: bool) -> None:
        """A person suspends what nobody lends at present, or resumes anything."""
        suspended = self.whole.aws.world.groups[group].suspended
        if not suspend:
            suspended.discard(process)
            self.wished[group].discard(process)
        elif group not in self._owing():
            suspended.add(process)
            self.wished[group].add(process)

    def _owing(self) -> set[str]:
        with self.whole.state.read() as connection:
            return {debt.target for debt in debts.list_open(connection)}

    @rule(host=_HOSTS, answer=st.sampled_from(list(Answer)))
    def judge(self, host: int, answer: Answer) -> None:
        instance_id, _ = self.hosts[host]
        flying = {run.target for run in self.whole.in_flight()}
        # What was decided stands for a minute: it does not change under the decision's feet here.
        if instance_id not in flying:
            self.whole.verdicts[instance_id] = verdict(answer)

    @rule(seconds=st.sampled_from([1, 30, 100, 400]))
    def pass_time(self, seconds: int) -> None:
        until = self.whole.now + seconds
        while self.whole.now < until:
            step_s = _BUSY_S if self.whole.queue.waiting else _IDLE_S
            self.whole.now = min(until, self.whole.now + step_s)
            for instance_id, at in list(self.booting.items()):
                if at <= self.whole.now:
                    del self.booting[instance_id]
                    self._member(instance_id).health = "Healthy"
            self._repeat()
            self._work()

    def _wait_for_ends(self, seconds: int, *, owed: bool = False) -> None:
        """Let time pass until every run has ended and, with `owed`, nothing is owed."""
        until = self.whole.now + seconds
        while self.whole.now < until and not (
            all(run.state.ended for run in self.whole.runs()) and not (owed and self._owing())
        ):
            self.pass_time(100)

    def _repeat(self) -> None:
        """Deliver what fires again, as Alertmanager does."""
        if self.whole.now - self.repeated_at >= _REPEATED_S:
            self.repeated_at = self.whole.now
            for host in sorted(self.firing):
                instance_id, group = self.hosts[host]
                self.whole.deliver(instance_id, group=group)

    @rule(recovered=st.sampled_from(["0", "0", "0", "1", None, "NaN"]))
    def measure(self, recovered: str | None) -> None:
        self.whole.recovered = recovered
        self.measured.append((self.whole.now, recovered))

    @rule(operation=_OPERATIONS, fault=_FAULTS)
    def break_aws(self, operation: str, fault: str) -> None:
        """The next call of the operation fails so."""
        self.faults[operation] = fault

    @precondition(lambda self: not self.paused and not self.held)
    @rule(host=_HOSTS, operation=_OPERATIONS, fault=_FAULTS)
    def stay_ill(self, host: int, operation: str, fault: str) -> None:
        """Nothing helps a host for long, and a call on the way fails."""
        self.measure("0")
        self.break_aws(operation, fault)
        self.fire(host, surging=False)
        self._wait_for_ends(1_000)

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

    @rule(group=st.sampled_from(_GROUPS))
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

    @invariant()
    def whatever_is_lent_is_owed(self) -> None:
        lent = {
            group
            for group, wished in self.wished.items()
            if self.whole.aws.world.groups[group].suspended - wished
        }
        assert lent <= self._owing()

    def teardown(self) -> None:
        """Left alone, every alert ends in one explained state, and nothing stays lent."""
        if not hasattr(self, "whole"):
            return
        self.turn(paused=False)
        self.let_go()
        self.faults.clear()
        self.firing.clear()
        self._wait_for_ends(_ENDS_WITHIN_S, owed=True)
        for run in self.whole.runs():
            assert run.state.ended, run
            assert run.outcome, run
            assert (run.refusal is not None) is (run.state is State.REFUSED), run
        for group, wished in self.wished.items():
            assert self.whole.aws.world.groups[group].suspended == wished
        assert not self._owing()
        self.whole.close()
        self.folder.cleanup()


Receiver.TestCase.settings = settings(
    max_examples=16,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestReceiver = Receiver.TestCase
