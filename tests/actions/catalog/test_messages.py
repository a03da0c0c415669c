"""Messages to people, and silences."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest

from actions.base import CallResult, Outcome
from actions.catalog.registry import CATALOG
from actions.messaging import MessengerError
from tests.actions.catalog.catalog_fixtures import GROUP, HOST, TOKEN, World
from tests.fake_messenger import FakeMessenger

_silence = CATALOG["create_silence"]


@pytest.fixture
def world() -> World:
    return World()


def test_people_are_told_by_whom_and_about_what(world: World) -> None:
    """The run leads to the whole story."""
    CATALOG["notify"].act(world.call(to="oncall", message="look"))
    text = f"look\nTarget {HOST}, run {TOKEN[:26]}"
    assert world.messenger.notifications == [("oncall", f"SmartCloudOps: {HOST}", text)]
    topic = "arn:aws:sns:us-east-1:123456789012:oncall"
    created = CATALOG["page"].act(world.call(topic=topic, message="look"))
    assert created["message_id"]
    published = {"TopicArn": topic, "Subject": f"SmartCloudOps: {HOST}", "Message": text}
    assert world.emulator.world.published == [published]


@pytest.mark.parametrize(("target", "label"), [(HOST, "instance_id"), (GROUP, "asg")])
def test_a_silence_is_about_the_target_alone(world: World, target: str, label: str) -> None:
    """One for each alert; ended with the run, unless somebody has ended them."""
    call = world.call(target, alertnames=["InstanceDown", "ServiceDown"], duration_s=600)
    assert not _silence.observe(call).already
    call = replace(call, made=_silence.act(call))
    assert [dict(matchers) for matchers, _ in world.messenger.active.values()] == [
        {"alertname": "InstanceDown", label: target},
        {"alertname": "ServiceDown", label: target},
    ]
    assert _silence.read_back(call) == CallResult(Outcome.CHANGED, call.made)
    undo = _silence.undo(call)
    assert undo is not None
    CATALOG[undo.action].act(replace(call, params=undo.params))
    assert (world.messenger.active, _silence.unchanged_since(call)) == ({}, False)


@dataclass
class _OneSilence(FakeMessenger):
    """Takes one silence, and then fails."""

    sent: bool = False

    def create_silence(self, matchers: Mapping[str, str], *, lasts_s: float, comment: str) -> str:
        if self.active:
            self.broken = MessengerError("Alertmanager answered 503", sent=self.sent)
        return super().create_silence(matchers, lasts_s=lasts_s, comment=comment)


@pytest.mark.parametrize("sent", [False, True])
def test_silences_of_which_one_failed_are_not_forgotten(world: World, *, sent: bool) -> None:
    """What came of the step is unknown, and what was made ends with the run."""
    call = world.call(alertnames=["InstanceDown", "ServiceDown", "HighCPU"])
    call = replace(call, messenger=_OneSilence(sent=sent))
    with pytest.raises(MessengerError, match="503") as caught:
        _silence.act(call)
    assert caught.value.sent
    result = _silence.read_back(call)
    assert result.outcome is Outcome.UNKNOWN
    undo = _silence.undo(replace(call, made=result.made))
    assert undo is not None
    CATALOG[undo.action].act(replace(call, params=undo.params))
    assert list(call.messenger.find_silences(TOKEN)) == []


def test_a_silence_that_was_refused_was_not_made(world: World) -> None:
    """The first one, so that nothing is left behind."""
    world.messenger.broken = MessengerError("Alertmanager answered 400", sent=False)
    call = world.call(alertnames=["InstanceDown"])
    with pytest.raises(MessengerError) as caught:
        _silence.act(call)
    assert not caught.value.sent
    assert _silence.read_back(call) == CallResult(Outcome.FAILED)
