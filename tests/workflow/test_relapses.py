"""A recovery that does not last counts against its step and its playbook, and people are told."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from actions.audit import log
from actions.place import HOME
from receiver.audit.tail import Record
from receiver.controls import promotion_criteria
from receiver.controls.records import ALL
from receiver.notify.messages import make_message
from receiver.runs.model import Run, State
from tests.end_to_end.whole_fixtures import Whole

_PLAYBOOK = """
name: high-cpu
match: ['alertname="HighCPU"']
mode: auto
cooldown: 5m
limits: {target_per_hour: 9}
steps:
  - action: restart_service
    params: {service: app}
  - action: reboot_instance
  - action: replace_instance
verify: {expr: recovered, for: 10s, timeout: 60s}
"""


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    whole = Whole(tmp_path, playbook=_PLAYBOOK)
    yield whole
    whole.close()


def _recovers(whole: Whole, target: str, after_s: float = 0) -> Run:
    """The alert comes, a step helps, and the alert is over."""
    whole.now += after_s
    whole.deliver(target)
    whole.pass_time(120)
    whole.deliver(target, firing=False)
    return whole.runs()[0]


def test_the_step_that_did_not_last_is_not_repeated(whole: Whole) -> None:
    target = whole.group()[0]
    first, second = _recovers(whole, target), _recovers(whole, target, 1_200)
    assert [call.operation for call in whole.aws.calls] == ["SendCommand", "RebootInstances"]
    earlier, later = (next(r for r in whole.runs() if r.id == run.id) for run in (first, second))
    assert (earlier.state, earlier.relapsed_by) == (State.SUCCEEDED, later.id)
    assert later.relapsed_by is None


@pytest.mark.parametrize("other", ["late", "another target"])
def test_another_fault_begins_at_the_first_step(whole: Whole, other: str) -> None:
    """After half an hour the recovery has lasted; another instance has no part in it."""
    targets = whole.group()
    _recovers(whole, targets[0])
    _recovers(whole, targets[other != "late"], 2_000 if other == "late" else 600)
    assert {call.operation for call in whole.aws.calls} == {"SendCommand"}
    assert all(run.relapsed_by is None for run in whole.runs())


def test_it_counts_against_the_playbook(whole: Whole) -> None:
    target = whole.group()[0]
    _recovers(whole, target)
    _recovers(whole, target, 1_200)
    playbook = whole.playbooks.named("high-cpu")[0]
    with whole.state.read() as connection:
        figures = promotion_criteria.figures(connection, playbook, HOME, ALL, None)
    assert (figures.acted, figures.recovered, figures.failed) == (2, 1, 1)


def test_a_person_is_told_from_the_second_time_on(whole: Whole) -> None:
    """What helped, how often, since when, and for how long."""
    target = whole.group()[0]
    for _ in range(3):
        _recovers(whole, target, 1_200)
    with whole.state.read() as connection:
        records = [
            record
            for record in log.records(connection)
            if record["event"] == "recovery_did_not_last"
        ]
    messages = [make_message(_parsed(record), None, None) for record in reversed(records)]
    assert [message is not None for message in messages] == [False, True]
    assert messages[1] is not None
    assert messages[1].title == f"Comes again: {target}"
    assert messages[1].text.startswith(
        "restart_service, reboot_instance helped 2 times since Friday, 15 January, "
        "each time for about 22 minutes."
    )


def _parsed(record: Mapping[Any, Any]) -> Record:
    values = {name: record[name] for name in Record.__annotations__}
    return Record(**values | {"detail": json.loads(record["detail"])})


def test_a_ladder_without_a_further_step_says_why(tmp_path: Path) -> None:
    playbook = _PLAYBOOK.replace("  - action: reboot_instance\n  - action: replace_instance\n", "")
    whole = Whole(tmp_path, playbook=playbook)
    target = whole.group()[0]
    first = _recovers(whole, target)
    second = _recovers(whole, target, 1_200)
    assert (second.state, second.refusal) == (State.REFUSED, "no_step")
    assert f"the recovery by run {first.id} did not last" in (second.outcome or "")
    whole.close()
