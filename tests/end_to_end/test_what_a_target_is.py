"""Alerts of whoever may deliver them: what the target is decides, not what is said of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.scenes.frozen_aws import ACCOUNT
from receiver.controls import overrides
from receiver.controls.records import Effect, Override
from receiver.playbooks.matchers import parse
from receiver.runs.model import State
from tests.end_to_end.whole_fixtures import Whole


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    whole = Whole(tmp_path)
    yield whole
    whole.close()


def _set_override(whole: Whole, *matchers: str, effect: Effect = Effect.HOLD) -> None:
    override = Override(
        id="0" * 26,
        matchers=[parse(matcher) for matcher in matchers],
        effect=effect,
        starts_at=whole.now,
        ends_at=whole.now + 600,
        created_by="alice",
        comment="forensics",
    )
    with whole.state.write() as connection:
        overrides.add(connection, override, whole.now)


@pytest.mark.parametrize("effect", list(Effect))
@pytest.mark.parametrize(
    "matchers",
    [
        ['instance_id="i-00000000000000000"'],
        ['asg="web-asg"'],
        ['az="us-east-1a"'],
        ['region="us-east-1"'],
        [f'account="{ACCOUNT}"'],
        ['tag_Team=~"data|web"'],
        ['tag_owner_of_it="bob"'],
        ['asg="web-asg"', 'alertname="HighCPU"'],
    ],
)
@pytest.mark.parametrize("late", [False, True], ids=["before", "after the decision"])
def test_an_override_of_what_a_host_is_applies_to_an_alert_that_names_its_address(
    whole: Whole, matchers: list[str], effect: Effect, *, late: bool
) -> None:
    """With a group that is empty, so that nothing of the labels names what is held."""
    whole.group()
    host = whole.aws.groups["web-asg"].hosts["i-00000000000000000"]
    host.tags |= {"Team": "data", "owner of/it": "bob"}
    if not late:
        _set_override(whole, *matchers, effect=effect)
    labels = {"alertname": "HighCPU", "instance": f"{host.address}:9100", "asg": ""}
    whole.deliver_labels(labels)
    if late:
        whole.dispatcher.dispatch()
        _set_override(whole, *matchers, effect=effect)
    whole.pass_time(30)
    assert whole.aws.calls == []
    assert whole.only().target == host.id
    observed = effect is Effect.OBSERVE and not late
    assert whole.only().state is (State.OBSERVED if observed else State.REFUSED)


def test_an_override_of_all_but_one_host_spares_that_host(whole: Whole) -> None:
    """Also where its alert does not name it."""
    whole.group()
    _set_override(whole, 'instance_id!="i-00000000000000001"')
    whole.deliver_labels({"alertname": "HighCPU", "instance": "10.0.0.1:9100"})
    whole.pass_time(1)
    assert whole.aws.calls == []
    whole.deliver_labels({"alertname": "HighCPU", "instance": "10.0.0.2:9100"})
    whole.pass_time(1)
    assert [call.target for call in whole.aws.calls] == ["i-00000000000000001"]
