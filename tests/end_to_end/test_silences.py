"""Whoever silences an alert in Alertmanager works on it: until they are done, nothing is done."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actions.reasons import Reason
from receiver.runs.model import RunRequest, State
from receiver.runtime.rfc3339 import rfc3339
from tests.end_to_end.whole_fixtures import Whole


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    whole = Whole(tmp_path)
    yield whole
    whole.close()


def _silence(whole: Whole, *, lasts_s: float = 3_600, **changed: Any) -> dict[str, Any]:
    """A silence of all alerts about the first instance, as Alertmanager's API has it."""
    target = next(iter(whole.aws.world.instances))
    return {
        "id": "b3b1c9a0-6a3f-4d4f-8a52-3f1a2b3c4d5e",
        "matchers": [{"name": "instance_id", "value": target, "isRegex": False, "isEqual": True}],
        "startsAt": rfc3339(whole.now - 60),
        "endsAt": rfc3339(whole.now + lasts_s),
        "updatedAt": rfc3339(whole.now - 60),
        "createdBy": "alice",
        "comment": "I look after it",
        "status": {"state": "active"},
        **changed,
    }


def _operations(whole: Whole) -> list[str]:
    return [call.operation for call in whole.aws.calls]


def test_a_silenced_alert_is_left_to_who_silenced_it(whole: Whole) -> None:
    """It was delivered right before; when they are done, its next repeat is decided."""
    target = whole.group()[0]
    whole.silences = [_silence(whole)]
    whole.deliver(target)
    whole.pass_time(30)
    run = whole.only()
    assert (run.refusal, run.outcome, _operations(whole)) == (
        Reason.OVERRIDE_HOLD,
        "alice (Alertmanager) set a hold: I look after it",
        [],
    )
    whole.silences = []
    whole.pass_time(60)
    whole.deliver(target, began_s=110)
    whole.pass_time(30)
    assert "RebootInstances" in _operations(whole)


def test_a_silence_that_is_set_during_a_ladder_ends_it(whole: Whole) -> None:
    whole.recovered = "0"
    target = whole.group()[0]
    whole.silences = []
    whole.deliver(target)
    whole.pass_time(30)
    begun = _operations(whole)
    assert "RebootInstances" in begun
    whole.silences = [_silence(whole)]
    whole.pass_time(900)
    run = whole.only()
    assert run.state is State.FAILED
    assert "no further step is allowed: alice (Alertmanager) set a hold" in (run.outcome or "")
    assert "TerminateInstanceInAutoScalingGroup" not in _operations(whole)


@pytest.mark.parametrize(
    "changed",
    [
        {"status": {"state": "expired"}},
        {"lasts_s": -1},
        {"comment": "01K9ZZZZZZZZZZZZZZZZZZZZZZ/100"},
        {"matchers": [{"name": "alertname", "value": "Other", "isRegex": False}]},
        {"matchers": [{"name": "alertname", "value": "Hi(", "isRegex": True}]},
    ],
    ids=["expired", "over", "our own", "of another alert", "unreadable"],
)
def test_other_silences_hold_nothing(whole: Whole, changed: dict[str, Any]) -> None:
    target = whole.group()[0]
    whole.silences = [_silence(whole, **changed)]
    whole.deliver(target)
    whole.pass_time(30)
    assert "RebootInstances" in _operations(whole)


def test_while_alertmanager_is_away_its_last_word_counts(whole: Whole) -> None:
    """Until the silence ends by itself; an Alertmanager that never answered silences nothing."""
    first, second = whole.group()[:2]
    whole.silences = [_silence(whole, lasts_s=300)]
    whole.deliver(first)
    whole.pass_time(30)
    whole.silences = None
    whole.pass_time(90)
    whole.deliver(first)
    whole.pass_time(30)
    assert [run.refusal for run in whole.runs()] == [Reason.OVERRIDE_HOLD] * 2
    whole.pass_time(200)
    whole.deliver(first)
    whole.pass_time(30)
    assert "RebootInstances" in _operations(whole)
    whole.start()
    whole.deliver(second)
    whole.pass_time(400)
    assert whole.runs()[0].refusal != Reason.OVERRIDE_HOLD


def test_who_asks_for_a_run_may_have_silenced_its_alert(whole: Whole) -> None:
    target = whole.group()[0]
    whole.silences = [_silence(whole)]
    request = RunRequest(
        by="alice", role="operator", comment="go", playbook="high-cpu", target=target, dry_run=False
    )
    whole.service.manual_runs.start(request)
    whole.pass_time(120)
    assert whole.only().state is State.SUCCEEDED
