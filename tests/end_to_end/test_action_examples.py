"""Each example of docs/actions.md, copied into a playbook and run on an AWS that is harsh."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from textwrap import indent

import pytest

from actions.aws.groups import read_groups
from actions.aws.tags import QUARANTINE_TAG
from actions.base import Impact
from actions.catalog.registry import CATALOG
from actions.execution import debts
from demo.aws.hardness import REAL, harsh
from demo.aws.world import GROUP_TAG, TEMPLATE, SecurityGroup, TargetGroup, target_group_arn
from models.inference.verdict import Answer
from receiver.decision.version_watch import VersionRecords, VersionWatch
from receiver.runs.manual_runs import ManualRuns
from receiver.runs.model import RunRequest, State
from tests.actions.catalog.catalog_fixtures import CASES
from tests.end_to_end.whole_fixtures import Whole, verdict
from tests.fake_messenger import FakeMessenger

_PAGE = (Path(__file__).parents[2] / "docs" / "actions.md").read_text()
_EXAMPLES: dict[str, str] = dict(
    re.findall(r"^## (\w+)\n.*?```yaml\n(.*?)```", _PAGE, re.DOTALL | re.MULTILINE)
)
_INTERFACE, _USUAL, _ISOLATING = (
    "eni-0fedcba9876543210",
    "sg-0fedcba9876543210",
    "sg-0a0b0c0d0e0f01234",
)
# Ids of the page, which no playbook may keep, and those of this account.
_IDS = {
    "eni-0123456789abcdef0": _INTERFACE,
    "sg-0123456789abcdef0": _USUAL,
    "123456789012": "210987654321",
}
# With `launch_first` a replacement begins with a launch.
_WRITES = {case.action: case.writes for case in CASES} | {"replace_instance": "SetDesiredCapacity"}
# They take an instance from its load balancer, or boot it, and suspend nothing: a group whose
# health checks are the balancer's would replace it, so that they are refused.
_EC2_CHECKED = frozenset({"capture", "create_silence", "deregister_target", "notify", "page"})
# An example on the group is run on it, or on its members, where its condition is about these.
_OF_MEMBERS = frozenset({"cancel_instance_refresh", "rollback_instance_refresh", "restore_version"})
_HOURS_S = 3 * 3_600.0


def _group(whole: Whole, checks: str) -> None:
    """Six behind a load balancer."""
    whole.group()
    world, arn = whole.aws.world, target_group_arn("web")
    group = world.groups["web-asg"]
    world.target_groups[arn] = TargetGroup(arn)
    world.attach(group, arn)
    group.checks = checks
    world.security_groups[_ISOLATING] = SecurityGroup(_ISOLATING, name="smartcloudops-isolation")
    world.security_groups[_USUAL] = SecurityGroup(_USUAL, ingress=[{"IpProtocol": "-1"}])


def _stand_by(whole: Whole, target: str) -> None:
    group = whole.aws.world.groups["web-asg"]
    group.members[target].lifecycle, group.desired = "Standby", 5


def _leave(whole: Whole, target: str) -> None:
    group = whole.aws.world.groups["web-asg"]
    del group.members[target], whole.aws.world.instances[target].tags[GROUP_TAG]
    group.desired = 5


def _isolate(whole: Whole, target: str) -> None:
    instance = whole.aws.world.instances[target]
    instance.interfaces, instance.tags[QUARANTINE_TAG] = {_INTERFACE: [_ISOLATING]}, "t"


def _quarantine(whole: Whole, target: str) -> None:
    _stand_by(whole, target)
    _isolate(whole, target)


def _shut_down(whole: Whole, target: str) -> None:
    _leave(whole, target)
    _isolate(whole, target)
    whole.aws.world.instances[target].state = "stopped"


def _stop(whole: Whole, target: str) -> None:
    """By a person, who keeps the group from replacing it."""
    whole.aws.world.groups["web-asg"].suspended = {"HealthCheck", "ReplaceUnhealthy"}
    whole.aws.world.instances[target].state = "stopped"


def _fail_hardware(whole: Whole, target: str) -> None:
    """A start moves it to another host."""
    instance = whole.aws.world.instances[target]
    instance.impaired, instance.impaired_at = "system", whole.now


def _deregister(whole: Whole, target: str) -> None:
    targets = whole.aws.world.target_groups[target_group_arn("web")]
    targets.targets = [each for each in targets.targets if each.id != target]


def _suspend(whole: Whole, _: str) -> None:
    whole.aws.world.groups["web-asg"].suspended = {"ReplaceUnhealthy"}


def _surge(whole: Whole, target: str) -> None:
    whole.verdicts[target] = verdict(Answer.CONFIRMED, surging=True)


def _deploy(whole: Whole, target: str, *, names: bool) -> None:
    """A refresh that does, or does not, name what it brings; two of its instances fail."""
    watch = VersionWatch(
        database=whole.state,
        records=VersionRecords(),
        read_groups=lambda _: read_groups(whole.clients()),
        clock=whole.clock,
    )
    for _ in range(12):
        watch.run_once()
        whole.pass_time(30)
    del target
    group = whole.aws.world.groups["web-asg"]
    for member in [*group.members.values()][:2]:
        member.version = "2"
    template = {"LaunchTemplate": {"LaunchTemplateId": TEMPLATE, "Version": "2"}}
    group.version = "1" if names else "2"
    group.refreshes = [
        {
            "InstanceRefreshId": "00000000-0000-4000-8000-000000000000",
            "AutoScalingGroupName": group.name,
            "Status": "InProgress",
            "Old": (),
            "DesiredConfiguration": template if names else {},
        }
    ]


_PREPARE: dict[str, Callable[[Whole, str], None]] = {
    "attach_instance": _leave,
    "cancel_instance_refresh": partial(_deploy, names=True),
    "end_emergency_shutdown": _shut_down,
    "exit_standby": _stand_by,
    "register_target": _deregister,
    "release_quarantine": _quarantine,
    "restore_version": partial(_deploy, names=False),
    "resume_processes": _suspend,
    "rollback_instance_refresh": partial(_deploy, names=True),
    "set_desired_capacity": _surge,
    "start_instance": _stop,
    "stop_instance": _fail_hardware,
}
# What they are about is named by ids of the page's own, or is of the alert: each has tests.
_NAMED = frozenset({"cancel_zonal_shift", "expire_silence", "shift_traffic", "start_zonal_shift"})


def _playbook(name: str) -> str:
    example, step = _EXAMPLES[name], "- action: reboot_instance\n"
    for theirs, own in _IDS.items():
        example = example.replace(theirs, own)
    ladder = f"{indent(step, '  ')}{example}" if "escalate:" in example else indent(example, "  ")
    return f"""
name: high-cpu
match: ['alertname="HighCPU"']
mode: auto
standalone: true
steps:
{ladder}
verify: {{expr: recovered, for: 10s, timeout: 60s}}
"""


def _order(whole: Whole, target: str) -> None:
    """A person orders it, for that finds an instance that serves nobody, too."""
    manual = ManualRuns(
        database=whole.state,
        playbooks=whole.playbooks,
        decide_sync=whole.dispatcher.decide_sync,
        wake=whole.dispatcher.dispatch,
        clock=whole.clock,
    )
    manual.start(
        RunRequest(
            by="alice",
            role="operator",
            comment="please",
            playbook="high-cpu",
            target=target,
            dry_run=False,
        )
    )


def _owed(whole: Whole) -> set[str]:
    with whole.state.read() as connection:
        return {debt.target for debt in debts.list_open(connection)}


def test_the_page_has_an_example_of_each_action() -> None:
    assert _EXAMPLES.keys() == CATALOG.keys()


@pytest.mark.parametrize("recovered", ["1", "0"])
@pytest.mark.parametrize("name", sorted(_EXAMPLES.keys() - _NAMED))
def test_it_does_what_it_says_and_no_harm(tmp_path: Path, name: str, recovered: str) -> None:
    """Whether it helps or not: nobody else is terminated for it, and nothing stays lent unowed."""
    messenger = FakeMessenger()
    whole = Whole(tmp_path, playbook=_playbook(name), messenger=messenger, looks_every_s=20)
    seed = sorted(_EXAMPLES).index(name)
    # One attempt a call is no match for rate limits, and a host that hangs outlives its page.
    whole.aws.core.hardness = replace(harsh(seed), burst=0, contended=0.0)
    whole.aws.core.timings = REAL
    _group(whole, "EC2" if name in _EC2_CHECKED else "ELB")
    whole.aws.groups.watch()
    world, group = whole.aws.world, whole.aws.world.groups["web-asg"]
    members = [*group.members]
    if name in _PREPARE:
        _PREPARE[name](whole, members[0])
    before, whole.recovered = set(group.suspended), recovered
    targets = members[:2] if name in _OF_MEMBERS else members[:1]
    ordered, began = name in _PREPARE and name not in _OF_MEMBERS, whole.now
    if ordered:
        _order(whole, members[0])
    while whole.now == began or not all(run.state.ended for run in whole.runs()):
        assert whole.now < began + _HOURS_S, whole.runs()
        for target in () if ordered else targets:
            whole.deliver(target, began_s=1 + whole.now - began)
        whole.pass_time(120)
        for run in whole.runs():
            if run.state is State.AWAITING_APPROVAL and run.plan is not None:
                whole.commands.approve(run.id, "bob", "go", plan=run.plan.digest)
    whole.pass_time(900)
    whole.aws.pass_time()
    told = [run.outcome for run in whole.runs()]
    first = re.findall(r"action: (\w+)", _playbook(name))[0]
    assert _WRITES[first] in whole.aws.operations(), told
    gone = {member for member in members if world.instances[member].state == "terminated"}
    action = CATALOG[name]
    if not action.removes_members:
        assert gone <= ({members[0]} if action.impact is Impact.DESTRUCTIVE else set()), told
    assert group.suspended <= before or _owed(whole) == {group.name}, told
    told_people = messenger.notifications or world.published
    assert bool(told_people) is ("escalate:" in _EXAMPLES[name] and recovered == "0"), told
    whole.close()
