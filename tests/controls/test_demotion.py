"""A mode falls by itself, says why, and people are told."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actions.audit import log
from receiver.audit.tail import Record
from receiver.controls import arming
from receiver.controls.demotion import Demotion
from receiver.controls.promotion import ArmRequest, NotJustifiedError
from receiver.controls.records import ALL
from receiver.notify.messages import make_message
from receiver.runs import feedback
from receiver.runs.model import FeedbackMark, Run, State
from receiver.settings import Mode
from tests.end_to_end.whole_fixtures import Whole

_PLAYBOOK = """
name: high-cpu
match: ['alertname="HighCPU"']
mode: auto
limits: {target_per_day: 9, relapse: 0s}
steps: [{action: reboot_instance}]
verify: {expr: recovered, for: 10s, timeout: 60s}
"""
_HOUR_S = 3_600


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    settings = {"arming_agreement": 0.8, "arming_evidence": 0}
    whole = Whole(tmp_path, playbook=_PLAYBOOK, arming_required=True, settings=settings)
    yield whole
    whole.close()


def _arm(whole: Whole, *, force: bool = True, earned: bool = False) -> None:
    """Arm it to `auto`; an arming that was earned is one whose bounds were met."""
    record = whole.service.promoter.arm(
        ArmRequest(
            playbook="high-cpu",
            place=whole.service.own_place,
            service=ALL,
            mode=Mode.AUTO,
            canary_percent=100,
            by="alice",
            comment="go",
            force=force,
        )
    )
    if earned:
        figures = {**record.figures, "earned": True}
        with whole.state.write() as connection:
            arming.save(connection, type(record)(**vars(record) | {"figures": figures}))


def _run(whole: Whole, target: str, *, helps: bool, group: str = "web-asg") -> Run:
    """An alert an hour later, and the end of its run."""
    whole.now += _HOUR_S
    whole.recovered = "1" if helps else "0"
    whole.deliver(target, group=group)
    whole.pass_time(400)
    whole.deliver(target, group=group, firing=False)
    run = whole.runs()[0]
    assert run.state.ended
    return run


def _modes(whole: Whole) -> dict[str, Mode]:
    with whole.state.read() as connection:
        return {each.service: each.mode for each in arming.armings_of(connection, "high-cpu")}


def _told(whole: Whole, event: str) -> tuple[str, str]:
    """Title and text of the message about the newest record of this event."""
    with whole.state.read() as connection:
        newest = next(each for each in log.records(connection) if each["event"] == event)
    values: dict[str, Any] = {name: newest[name] for name in Record.__annotations__}
    message = make_message(Record(**values | {"detail": json.loads(newest["detail"])}), None, None)
    assert message is not None
    return message.title, message.text


def test_a_spent_budget_disarms_the_service_and_no_other(whole: Whole) -> None:
    """Three errors of a week; a success between them keeps the circuit breaker closed."""
    targets, others = whole.group(), whole.group("api-asg")
    _arm(whole)
    for helps in (False, False, True, False):
        assert _modes(whole) == {ALL: Mode.AUTO}
        _run(whole, targets[0], helps=helps)
    assert _modes(whole) == {ALL: Mode.AUTO, "web-asg": Mode.OBSERVE}
    assert _told(whole, "playbook_disarmed") == (
        "Playbook high-cpu is disarmed for web-asg by smartcloudops",
        "3 acts of a week did not help, did not last, or were marked wrong (budget: 3)",
    )
    assert _run(whole, targets[1], helps=True).state is State.OBSERVED
    assert _run(whole, others[0], helps=True, group="api-asg").state is State.SUCCEEDED
    with pytest.raises(NotJustifiedError, match="in web-asg 3 acts of a week"):
        _arm(whole, force=False)


def test_an_earned_mode_falls_to_approve_and_asks(whole: Whole) -> None:
    """One level at a time; the next alert waits for a person."""
    targets = whole.group()
    _arm(whole, earned=True)
    _run(whole, targets[0], helps=False)
    assert _modes(whole) == {ALL: Mode.APPROVE}
    assert _told(whole, "playbook_demoted") == (
        "Playbook high-cpu falls to approve by smartcloudops",
        "0 of 1 incidents were right: the lower 95 % bound is 0.00, below 0.8",
    )
    whole.now += _HOUR_S
    whole.deliver(targets[1])
    whole.work()
    assert whole.runs()[0].state is State.AWAITING_APPROVAL
    assert _modes(whole) == {ALL: Mode.APPROVE}


def test_a_mark_is_noticed_within_a_minute(whole: Whole) -> None:
    """Harm that a person sees only later lowers the mode, too."""
    target = whole.group()[0]
    _arm(whole)
    run = _run(whole, target, helps=True)
    mark = FeedbackMark(right=False, by="bob", comment="it cut off a backup", at=whole.now)
    with whole.state.write() as connection:
        feedback.set_feedback(connection, run, mark)
    (demotion,) = (task for task in whole.service.leader_tasks if isinstance(task, Demotion))
    demotion.run_once()
    assert _modes(whole) == {ALL: Mode.APPROVE}
    assert _told(whole, "playbook_demoted")[1] == "people marked an act as wrong"


def test_disarming_and_arming_again_hides_no_error(whole: Whole) -> None:
    """The record is of 90 days, whoever armed it meanwhile."""
    target = whole.group()[0]
    _arm(whole)
    _run(whole, target, helps=False)
    scope = arming.Scope(playbook="high-cpu", place=whole.service.own_place)
    whole.service.promoter.disarm(scope, by="alice", comment="a fresh start")
    with pytest.raises(NotJustifiedError, match="0 of 1 incidents were right"):
        _arm(whole, force=False)
