"""A launch-template version that fails, and the one before it, which was seen healthy."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from actions.aws.groups import read_groups
from actions.tables import audit
from demo.aws.clients import clients
from demo.aws.world import TEMPLATE, Group
from receiver.decision.version_watch import VersionRecords, VersionWatch
from receiver.runs.model import State
from tests.end_to_end.whole_fixtures import Whole

_PLAYBOOK = """
name: high-cpu
match: ['alertname="HighCPU"']
mode: auto
steps:
  - action: cancel_instance_refresh
    when: group.bad_version and group.refresh == "irreversible"
    verify: {expr: recovered, for: 10s, timeout: 5s}
  - action: restore_version
    params: {version: $healthy_version}
    when: group.bad_version
  - action: reboot_instance
    when: not group.bad_version
verify: {expr: recovered, for: 10s, timeout: 60s}
"""


@pytest.fixture
def whole(tmp_path: Path) -> Iterator[Whole]:
    whole = Whole(tmp_path, playbook=_PLAYBOOK)
    whole.group()
    yield whole
    whole.close()


@pytest.fixture
def watch(whole: Whole) -> VersionWatch:
    return _watch(whole)


def _watch(whole: Whole) -> VersionWatch:
    aws = clients(whole.aws)
    return VersionWatch(
        database=whole.state,
        records=VersionRecords(),
        read_groups=lambda _: read_groups(aws),
        clock=whole.clock,
    )


def _group(whole: Whole) -> Group:
    whole.aws.pass_time()
    return whole.aws.world.groups["web-asg"]


def _look(whole: Whole, watch: VersionWatch, seconds: float) -> None:
    for _ in range(int(seconds / 30)):
        watch.run_once()
        whole.pass_time(30)


def _members(whole: Whole, version: str) -> list[str]:
    members = _group(whole).members.values()
    return [member.id for member in members if member.version == version]


def _deploy(whole: Whole, version: str, times: int = 2) -> list[str]:
    """As Terraform does it: the group gets the version, and a refresh that does not name it."""
    group = _group(whole)
    group.version = version
    clients(whole.aws).autoscaling.start_instance_refresh(
        AutoScalingGroupName="web-asg", Preferences={"SkipMatching": True}
    )
    while len(_members(whole, version)) < times:
        whole.now += 1
    whole.now += 10
    return _members(whole, version)


def _alert(whole: Whole, targets: list[str], seconds: float = 60) -> None:
    whole.recovered = "0"
    for target in targets:
        whole.deliver(target, began_s=1)
    whole.pass_time(seconds)


def _records(whole: Whole) -> list[str]:
    query = select(audit.c.event).where(audit.c.event.startswith("version_"))
    with whole.state.read() as connection:
        return list(connection.execute(query).scalars())


def _operations(whole: Whole) -> list[str]:
    return [call.operation for call in whole.aws.calls if call.session]


def test_the_refresh_is_cancelled_and_the_healthy_version_restored(
    whole: Whole, watch: VersionWatch
) -> None:
    """The refresh ends at once; a person approves the version that all members get."""
    _look(whole, watch, 360)
    failing = _deploy(whole, "2")
    _alert(whole, failing)
    run = next(run for run in whole.runs() if run.state is State.AWAITING_APPROVAL)
    assert _operations(whole) == ["CancelInstanceRefresh"]
    assert run.plan is not None
    assert run.plan.params == {"version": f"{TEMPLATE}/1"}
    said = " ".join(gate.detail for gate in run.gates)
    assert "whoever set 2, such as Terraform, will set it again at the next apply" in said
    whole.commands.approve(run.id, "alice", "go", plan=run.plan.digest)
    whole.recovered = "1"
    whole.pass_time(180)
    assert _operations(whole) == ["CancelInstanceRefresh", "StartInstanceRefresh"]
    assert (_group(whole).version, _members(whole, "2")) == ("1", [])
    assert next(r for r in whole.runs() if r.id == run.id).state is State.SUCCEEDED


def test_without_a_version_on_record_none_is_guessed(whole: Whole, watch: VersionWatch) -> None:
    """Four minutes are not enough to call a version healthy."""
    _look(whole, watch, 240)
    _alert(whole, _deploy(whole, "2"))
    assert (_records(whole), _operations(whole)) == ([], [])


def test_a_version_that_was_healthy_is_not_taken_for_the_cause(
    whole: Whole, watch: VersionWatch
) -> None:
    """The same members alert a day later, on a version that served well."""
    _look(whole, watch, 360)
    failing = _deploy(whole, "2")
    _group(whole).refreshes.clear()
    _look(whole, watch, 360)
    _alert(whole, failing[:2])
    assert "StartInstanceRefresh" not in _operations(whole)
    assert not any(run.state is State.AWAITING_APPROVAL for run in whole.runs())


def test_what_was_seen_outlives_a_restart(whole: Whole, watch: VersionWatch) -> None:
    """It is on record in the audit, and said once."""
    _look(whole, watch, 600)
    assert _records(whole) == ["version_healthy"]
    whole.start()
    _alert(whole, _deploy(whole, "2"))
    assert _operations(whole) == ["CancelInstanceRefresh"]


def test_a_version_that_turns_ill_is_not_restored(whole: Whole, watch: VersionWatch) -> None:
    """Two of six members alert: it is healthy no more, and the step says why it is refused."""
    _look(whole, watch, 360)
    _alert(whole, _members(whole, "1")[:2], 0)
    _look(whole, watch, 30)
    assert _records(whole) == ["version_healthy", "version_ill"]


def test_a_break_proves_nothing(whole: Whole, watch: VersionWatch) -> None:
    """What happened while nobody looked is unknown."""
    _look(whole, watch, 240)
    whole.now += 3_600
    _look(whole, watch, 240)
    assert _records(whole) == []


def test_members_that_the_failing_ones_overload_hide_nothing(
    whole: Whole, watch: VersionWatch
) -> None:
    """The rest of the group alerts too, and its version stays the healthy one."""
    _look(whole, watch, 360)
    failing = _deploy(whole, "2")
    _alert(whole, [*failing, *_members(whole, "1")[:2]], 5)
    watch.run_once()
    whole.pass_time(30)
    assert _records(whole) == ["version_healthy"]
    assert _operations(whole) == ["CancelInstanceRefresh"]
    assert any(run.state is State.AWAITING_APPROVAL for run in whole.runs())
