"""What a run itself did to its target's group is no change by others to its next step."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from demo.aws.hardness import Hardness
from receiver.runs.model import State
from tests.end_to_end.whole_fixtures import Whole

_PLAYBOOK = """
name: high-cpu
match: ['alertname="HighCPU"']
mode: auto
steps:
  - action: enter_standby
  - action: reboot_instance
  - action: exit_standby
verify: {expr: recovered, for: 10s, timeout: 60s}
"""


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    whole = Whole(tmp_path, playbook=_PLAYBOOK, recovered="0")
    whole.aws.core.hardness = Hardness(heals=True)
    yield whole
    whole.close()


def test_the_runs_own_standby_does_not_stop_its_next_step(whole: Whole) -> None:
    target = whole.group()[0]
    for _ in range(4):
        whole.deliver(target)
        whole.pass_time(200)
    operations = [call.operation for call in whole.aws.calls]
    assert operations == ["EnterStandby", "RebootInstances", "ExitStandby"]


def test_a_persons_standby_does(whole: Whole) -> None:
    target = whole.group()[0]
    whole.aws.world.groups["web-asg"].members[target].lifecycle = "Standby"
    whole.deliver(target)
    whole.pass_time(60)
    run = whole.only()
    assert (run.state, run.refusal) == (State.REFUSED, "change_in_progress")
