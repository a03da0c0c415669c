"""What AWS says of a target is asked for at once, and believed for as long as it may be."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import Any

import pytest

from actions.base import TargetKind
from actions.execution.records import Bounds
from demo.aws.calls import Call
from demo.aws.clients import clients
from demo.aws.core import Core
from demo.aws.emulator import Emulator
from demo.aws.world import AwsError, Group, HostEvent, Instance
from receiver.evidence.aws.state import AwsReader
from receiver.evidence.source import Source
from receiver.evidence.target import Target
from tests.conftest import Clock

_HOSTS = [f"i-{number:017x}" for number in range(4)]
_WEB = Target(id=_HOSTS[0], kind=TargetKind.INSTANCE, group="web")
_BOUNDS = Bounds()


@pytest.fixture
def aws(clock: Clock) -> Emulator:
    aws = Emulator(Core(clock))
    aws.world.add_group(Group("web", 1, 8, 4, target_groups=["arn:1"]), _HOSTS, 0.0)
    return aws


@pytest.fixture
def ticks() -> Clock:
    return Clock(1.0)


@pytest.fixture
def reader(aws: Emulator, ticks: Clock) -> Iterator[AwsReader]:
    with ThreadPoolExecutor(16) as pool:
        yield AwsReader(aws=clients(aws), pool=pool, trail=True, monotonic=ticks)


def _scopes(reader: AwsReader, clock: Clock) -> set[str]:
    return {scope.name for scope in reader.begin(clock()).begin(_WEB, _BOUNDS)().scopes or ()}


@pytest.mark.parametrize("looked_at", ["before", "ahead"])
def test_a_known_group_is_read_in_one_round(
    reader: AwsReader, aws: Emulator, clock: Clock, looked_at: str
) -> None:
    """The group's own answer is not waited for to ask for what hangs on it."""
    if looked_at == "ahead":
        reader.prefetch([_HOSTS[0], "web", "no group", "not one: \n"], clock())
    else:
        reader.begin(clock()).begin(_WEB, _BOUNDS)()
    hanging = {name: Event() for name in ("DescribeTargetHealth", "DescribeInstanceRefreshes")}

    def trouble(operation: str, _: str) -> None:
        if operation == "DescribeAutoScalingGroups":
            assert all(begun.wait(10) for begun in hanging.values())
        if operation in hanging:
            hanging[operation].set()

    aws.trouble = trouble
    state = reader.begin(clock()).begin(_WEB, _BOUNDS)()
    assert state.asg is not None
    assert state.scopes
    assert state.changes == []


def test_the_target_groups_of_now_count(reader: AwsReader, aws: Emulator, clock: Clock) -> None:
    """Also where others were asked for by what was known before."""
    assert "target group arn:1" in _scopes(reader, clock)
    aws.world.attach(aws.world.groups["web"], "arn:2")
    scopes = _scopes(reader, clock)
    assert "target group arn:2" in scopes
    assert "target group arn:1" not in scopes


@pytest.mark.parametrize("seen_before", [False, True])
@pytest.mark.parametrize(
    ("failing", "unknown"),
    [
        ("DescribeAutoScalingGroups", {"asg", "scopes", "changes", "refreshes"}),
        ("DescribeTargetHealth", {"scopes"}),
        ("DescribeInstanceRefreshes", {"changes", "refreshes"}),
        ("DescribeInstances", {"instance"}),
        ("DescribeInstanceAttribute", {"protected"}),
        ("DescribeInstanceStatus", {"host"}),
        ("DescribeVolumeStatus", {"volume_check"}),
        ("LookupEvents", {"changes"}),
        ("DescribeSessions", {"changes"}),
        ("ListCommandInvocations", {"changes"}),
    ],
)
def test_only_what_is_not_answered_is_unknown(
    reader: AwsReader, aws: Emulator, failing: str, unknown: set[str], *, seen_before: bool
) -> None:
    """Whether the group was seen before or not."""
    if seen_before:
        reader.begin(aws.core.clock()).begin(_WEB, _BOUNDS)()

    def trouble(operation: str, _: str) -> None:
        if operation == failing:
            raise AwsError("InternalError", status=500)

    aws.trouble = trouble
    state = reader.begin(aws.core.clock() + 60).begin(_WEB, _BOUNDS)()
    assert {name for name, value in vars(state).items() if value is None} == unknown


def test_the_age_of_what_cloudtrail_said_is_known(reader: AwsReader, clock: Clock) -> None:
    """One look serves all targets of the region for half a minute."""
    other = replace(_WEB, id=_HOSTS[1])
    ages = [
        reader.begin(clock() + later).begin(target, _BOUNDS)().trail_age_s
        for later, target in ((0, _WEB), (12, other), (31, _WEB))
    ]
    assert ages == [0.0, 12.0, 0.0]


def test_a_target_group_that_is_gone_is_named(
    reader: AwsReader, aws: Emulator, clock: Clock
) -> None:
    """Somebody deleted it while its Auto Scaling group still has its ARN."""
    del aws.world.target_groups["arn:1"]
    state = reader.begin(clock()).begin(_WEB, _BOUNDS)()
    assert (state.scopes, state.unread_health) == (None, ["arn:1"])


def test_a_volume_that_ec2_stopped_is_told_of_its_instance_alone(
    reader: AwsReader, aws: Emulator, clock: Clock
) -> None:
    """A volume's status does not always name the instance."""
    aws.world.impaired_volumes = {aws.world.instances[_HOSTS[1]].volumes[0]}
    assert reader.begin(clock()).begin(_WEB, _BOUNDS)().volume_check == "ok"
    aws.world.impaired_volumes |= {aws.world.instances[_HOSTS[0]].volumes[0]}
    assert reader.begin(clock()).begin(_WEB, _BOUNDS)().volume_check == "impaired"


@pytest.mark.parametrize(
    ("code", "interrupted"),
    [
        ("fulfilled", False),
        ("request-canceled-and-instance-running", False),
        ("instance-stopped-by-user", False),
        ("marked-for-termination", True),
        ("marked-for-stop", True),
        ("marked-for-stop-by-experiment", True),
        ("instance-terminated-no-capacity", True),
        ("instance-terminated-by-experiment", True),
        ("instance-stopped-no-capacity", True),
    ],
)
def test_a_spot_instance_that_ec2_takes_is_being_changed(
    reader: AwsReader, aws: Emulator, clock: Clock, code: str, *, interrupted: bool
) -> None:
    """Two minutes before; where the role may not ask, nothing is known of it."""
    instance = aws.world.instances[_HOSTS[0]]
    instance.one_time_spot, instance.spot_code = True, code
    changes = reader.begin(clock()).begin(_WEB, _BOUNDS)().changes
    assert changes == [f"EC2 interrupts the Spot Instance {_HOSTS[0]}: {code}"] * interrupted

    answers = {"UnauthorizedOperation": 403, "RequestLimitExceeded": 503}

    def trouble(operation: str, _: str) -> None:
        if operation == "DescribeSpotInstanceRequests":
            code = next(iter(answers))
            raise AwsError(code, status=answers.pop(code))

    aws.trouble = trouble
    assert reader.begin(clock() + 60).begin(_WEB, _BOUNDS)().changes == []
    assert reader.begin(clock() + 60).begin(_WEB, _BOUNDS)().changes is None


def test_a_group_that_is_gone_is_unknown(reader: AwsReader, aws: Emulator, clock: Clock) -> None:
    """Nothing that was known of it counts."""
    reader.begin(clock()).begin(_WEB, _BOUNDS)()
    aws.world.groups["other"] = aws.world.groups.pop("web")
    aws.world.groups["other"].name = "other"
    state = reader.begin(clock()).begin(_WEB, _BOUNDS)()
    assert (state.asg, state.scopes, state.changes) == (None, None, None)


def test_scopes_hold_for_a_second(reader: AwsReader, clock: Clock, ticks: Clock) -> None:
    """For the claim that follows at once; for just this target and these bounds."""
    assert reader.recent_scopes(_HOSTS[0], "web", _BOUNDS) is None
    state = reader.begin(clock()).begin(_WEB, _BOUNDS)()
    assert reader.recent_scopes(_HOSTS[0], "web", _BOUNDS) == state.scopes
    assert reader.recent_scopes(_HOSTS[1], "web", _BOUNDS) is None
    assert reader.recent_scopes(_HOSTS[0], "web", Bounds(percent=50)) is None
    ticks.now += 1.0
    assert reader.recent_scopes(_HOSTS[0], "web", _BOUNDS) is None


def test_scopes_are_as_old_as_the_first_answer_to_them(
    reader: AwsReader, aws: Emulator, clock: Clock, ticks: Clock
) -> None:
    """A throttled read of the health comes late: by then the group may be another."""

    def trouble(operation: str, _: str) -> None:
        if operation == "DescribeTargetHealth":
            ticks.now += 20

    aws.trouble = trouble
    assert _scopes(reader, clock)
    assert reader.recent_scopes(_HOSTS[0], "web", _BOUNDS) is None


def test_scopes_are_used_once(reader: AwsReader, clock: Clock) -> None:
    """Who acts again reads them again."""
    _scopes(reader, clock)
    assert reader.recent_scopes(_HOSTS[0], "web", _BOUNDS)
    assert reader.recent_scopes(_HOSTS[0], "web", _BOUNDS) is None


def test_what_was_only_guessed_is_not_told_as_unreadable(aws: Emulator, clock: Clock) -> None:
    """A target group that is the group's no more, and a group that is gone; what is wanted is."""
    failed: list[Source] = []
    with ThreadPoolExecutor(16) as pool:
        reader = AwsReader(aws=clients(aws), pool=pool, trail=True, on_unreadable=failed.append)
        _scopes(reader, clock)

        def trouble(operation: str, _: str) -> None:
            if operation == "DescribeTargetHealth":
                raise AwsError("TargetGroupNotFound", status=400)

        aws.trouble = trouble
        aws.world.groups["web"].target_groups = []
        assert _scopes(reader, clock)
        assert failed == []
        aws.world.groups["web"].target_groups = ["arn:1"]
        assert not _scopes(reader, clock)
        assert failed == [Source.AWS]
        _scopes(reader, clock)
        assert failed == [Source.AWS] * 2


def test_more_who_ask_than_the_pool_has_threads_all_get_answers(
    aws: Emulator, clock: Clock
) -> None:
    """Nothing on the pool waits for the pool: else all would wait for ever."""
    with ThreadPoolExecutor(2) as pool, ThreadPoolExecutor(12) as callers:
        reader = AwsReader(aws=clients(aws), pool=pool, trail=True)
        begun = [callers.submit(reader.begin(clock()).begin, _WEB, _BOUNDS) for _ in range(12)]
        waiting = [callers.submit(future.result(10)) for future in begun]
        assert all(future.result(10).asg for future in waiting)


def test_scopes_that_could_not_be_read_anew_do_not_hold(
    reader: AwsReader, aws: Emulator, clock: Clock
) -> None:
    """Known once and unknown since is unknown."""
    reader.begin(clock()).begin(_WEB, _BOUNDS)()

    def trouble(operation: str, _: str) -> None:
        if operation == "DescribeTargetHealth":
            raise AwsError("InternalError", status=500)

    aws.trouble = trouble
    reader.begin(clock()).begin(_WEB, _BOUNDS)()
    assert reader.recent_scopes(_HOSTS[0], "web", _BOUNDS) is None


def _event(user_agent: str, *, read_only: str | None = "false", **fields: str) -> dict[str, str]:
    detail = json.dumps({"userIdentity": {"type": "IAMUser"}, "userAgent": user_agent})
    event = {"EventName": "DetachInstances", "Username": "alice", "CloudTrailEvent": detail}
    return event | ({} if read_only is None else {"ReadOnly": read_only}) | fields


_OWN, _THEIRS = _event("Boto3 smartcloudops-run/A"), _event("aws-cli")


@pytest.mark.parametrize(
    ("own", "changes"),
    [
        (0, ["alice called DetachInstances on web"]),
        (50, ["alice called DetachInstances on web"]),
        (199, ["alice called DetachInstances on web"]),
    ],
    ids=["first page", "second page", "last page that is read"],
)
def test_a_persons_change_counts_on_any_page_of_cloudtrail(
    reader: AwsReader, aws: Emulator, clock: Clock, own: int, changes: list[str]
) -> None:
    aws.events["web"] = [*[_OWN] * own, _THEIRS]
    assert reader.begin(clock()).begin(_WEB, _BOUNDS)().changes == changes


_LINKED = "arn:aws:sts::1:assumed-role/AWSServiceRoleForAutoScaling/AutoScaling"


@pytest.mark.parametrize(
    ("detail", "counts"),
    [
        ({"userIdentity": {"type": "AWSService"}}, False),
        ({"userIdentity": {"type": "AssumedRole", "arn": _LINKED}}, False),
        # A stack that a person changes.
        ({"userIdentity": {"type": "IAMUser", "invokedBy": "cloudformation.amazonaws.com"}}, True),
        ({"userIdentity": {"type": "IAMUser"}, "errorCode": "AccessDenied"}, False),
        ({"userIdentity": {"type": "IAMUser"}, "errorCode": "Client.DryRunOperation"}, False),
    ],
    ids=["service", "service-linked role", "by a service", "denied", "dry run"],
)
def test_only_what_somebody_changed_is_a_change(
    reader: AwsReader, aws: Emulator, clock: Clock, detail: object, *, counts: bool
) -> None:
    aws.events["web"] = [_event("aws-cli", CloudTrailEvent=json.dumps(detail))]
    assert bool(reader.begin(clock()).begin(_WEB, _BOUNDS)().changes) is counts


def _change(name: str) -> dict[str, str]:
    """A person's change of the group with this name."""
    detail = {"userIdentity": {"type": "IAMUser"}, "requestParameters": {"group": name}}
    return _event("aws-cli", CloudTrailEvent=json.dumps(detail))


@pytest.mark.parametrize(
    ("writes", "changes"),
    [
        ([_change("api")] * 199 + [_change("web")], ["alice called DetachInstances on web"]),
        ([_change("api")] * 200, []),
        (
            [_event("aws-cli", CloudTrailEvent="")],
            [f"alice called DetachInstances on {name}" for name in (_HOSTS[0], "web")],
        ),
        ([_change("web-2")], []),
        ([_change("api")] * 201, None),
    ],
    ids=[
        "of the group",
        "of another group",
        "of what is not said",
        "of a longer name",
        "more than are read",
    ],
)
def test_many_reads_of_a_group_hide_no_change_of_it(
    reader: AwsReader,
    aws: Emulator,
    clock: Clock,
    writes: list[dict[str, str]],
    changes: list[str] | None,
) -> None:
    """Our own reads alone may be more than are looked through; then all changes are."""
    aws.events["web"] = [_event("Boto3 smartcloudops-run/A", read_only="true")] * 201
    aws.events["false"] = writes
    assert reader.begin(clock()).begin(_WEB, _BOUNDS)().changes == changes


def test_pages_of_our_own_calls_are_no_change(
    reader: AwsReader, aws: Emulator, clock: Clock
) -> None:
    aws.events["web"] = [_OWN] * 120
    assert reader.begin(clock()).begin(_WEB, _BOUNDS)().changes == []


def _by(arn: str, **more: Any) -> dict[str, str]:
    identity = {"type": "AssumedRole", "arn": f"arn:aws:sts::123456789012:assumed-role/{arn}"}
    identity |= {"invokedBy": more.pop("by")} if "by" in more else {}
    return _event("aws-cli", CloudTrailEvent=json.dumps({"userIdentity": identity, **more}))


@pytest.mark.parametrize(
    ("event", "counts"),
    [
        (_by("AWSServiceRoleForAutoScaling/AutoScaling", by="autoscaling.amazonaws.com"), False),
        (_by("deploy/AWSServiceRoleForAutoScaling/x", by="cloudformation.amazonaws.com"), True),
        (_by("AWSServiceRoleForAmazonEKSNodegroup/EKS", by="eks-nodegroup.amazonaws.com"), True),
        (_by("AWSServiceRoleForAmazonSSM/window", by="ssm.amazonaws.com"), True),
        (_by("deploy/alice", by="cloudformation.amazonaws.com"), True),
        (_by("deploy/alice", errorCode="Client.UnauthorizedOperation"), False),
        (_by("deploy/alice", errorCode="Client.DryRunOperation"), False),
        (_by("deploy/alice", errorCode=None), True),
    ],
    ids=[
        "the group itself",
        "a role of that name",
        "an update of nodes",
        "a maintenance window",
        "a stack",
        "denied",
        "dry run",
        "a person",
    ],
)
def test_only_what_others_changed_counts(
    reader: AwsReader, aws: Emulator, clock: Clock, event: dict[str, str], *, counts: bool
) -> None:
    """A service acts by its linked role, for nobody; some, and other services, do for a person."""
    aws.events["web"] = [event]
    assert bool(reader.begin(clock()).begin(_WEB, _BOUNDS)().changes) is counts


@pytest.mark.parametrize(
    "event",
    [
        _event("aws-cli", read_only=None),
        _event("aws-cli", CloudTrailEvent=""),
        _event("aws-cli", CloudTrailEvent="{"),
        _event("aws-cli", CloudTrailEvent="null"),
        _event("aws-cli", CloudTrailEvent='{"userIdentity": null}'),
    ],
    ids=["no ReadOnly", "no detail", "not JSON", "null", "no identity"],
)
def test_an_event_that_lacks_attributes_counts_as_a_change(
    reader: AwsReader, aws: Emulator, clock: Clock, event: dict[str, str]
) -> None:
    aws.events["web"] = [event]
    assert reader.begin(clock()).begin(_WEB, _BOUNDS)().changes


@pytest.mark.parametrize("answer", [None, {}, {"DisableApiTermination": {}}])
def test_protection_is_unknown_where_aws_does_not_say(
    aws: Emulator, clock: Clock, answer: dict[str, Any] | None
) -> None:
    """Of an instance that does not exist, and in an answer without the attribute."""
    if answer is None:
        aws.world.instances.pop(_HOSTS[0])
    else:
        _change_answers(aws, "DescribeInstanceAttribute", lambda _: answer)
    with ThreadPoolExecutor(8) as pool:
        reader = AwsReader(aws=clients(aws), pool=pool, trail=True)
        assert reader.begin(clock()).begin(_WEB, _BOUNDS)().protected is None


def _change_answers(
    aws: Emulator, operation: str, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    def on_answer(call: Call, answer: dict[str, Any]) -> None:
        if call.operation == operation:
            changed = change(dict(answer))
            answer.clear()
            answer.update(changed)

    aws.on_answer = on_answer


@pytest.mark.parametrize(
    "missing", ["Instances", "TargetGroupARNs", "SuspendedProcesses", "Tags", "DesiredCapacity"]
)
def test_a_group_without_one_of_its_attributes_is_unknown(
    aws: Emulator, clock: Clock, missing: str
) -> None:
    """No list has a default: an absent one is not an empty one."""

    def shorten(answer: dict[str, Any]) -> dict[str, Any]:
        groups = answer["AutoScalingGroups"]
        return {"AutoScalingGroups": [{k: v for k, v in g.items() if k != missing} for g in groups]}

    _change_answers(aws, "DescribeAutoScalingGroups", shorten)
    with ThreadPoolExecutor(8) as pool:
        reader = AwsReader(aws=clients(aws), pool=pool, trail=True)
        state = reader.begin(clock()).begin(_WEB, _BOUNDS)()
    assert (state.asg, state.scopes, state.changes) == (None, None, None)


@pytest.mark.parametrize(
    ("operation", "unknown"),
    [
        ("DescribeInstanceRefreshes", {"changes", "refreshes"}),
        ("DescribeTargetHealth", {"scopes"}),
        ("LookupEvents", {"changes"}),
    ],
)
def test_an_answer_without_its_list_is_unknown(
    aws: Emulator, clock: Clock, operation: str, unknown: set[str]
) -> None:
    _change_answers(aws, operation, lambda _: {})
    with ThreadPoolExecutor(8) as pool:
        reader = AwsReader(aws=clients(aws), pool=pool, trail=True)
        state = reader.begin(clock()).begin(_WEB, _BOUNDS)()
    assert {name for name, value in vars(state).items() if value is None} == unknown


@pytest.mark.parametrize(
    ("failed_s", "recovery", "changes"),
    [(60.0, "default", 1), (60.0, "disabled", 0), (601.0, "default", 0)],
)
def test_ec2_may_be_recovering_an_instance_outside_groups(
    reader: AwsReader, aws: Emulator, failed_s: float, recovery: str, changes: int
) -> None:
    """For a while after its system check failed, unless recovery is switched off."""
    lone, now = "i-00000000000000aaa", aws.core.clock()
    aws.world.instances[lone] = Instance(
        lone, impaired="system", impaired_at=now - failed_s, auto_recovery=recovery
    )
    target = Target(id=lone, kind=TargetKind.INSTANCE, group=None)
    state = reader.begin(now).begin(target, _BOUNDS)()
    assert state.host is not None
    assert state.host.system == "impaired"
    assert len(state.changes or ()) == changes


@pytest.mark.parametrize(
    ("event", "changes"),
    [
        (("system-reboot", -60.0, 7_200.0), 1),
        (("instance-reboot", -60.0, 7_200.0), 1),
        (("system-maintenance", -60.0, 0.0), 1),
        (("system-reboot", 60.0, 7_200.0), 0),
        (("system-reboot", -7_201.0, 7_200.0), 0),
        (("instance-retirement", -60.0, 0.0), 0),
    ],
    ids=["reboots the host", "reboots it", "without an end", "to come", "over", "for good"],
)
def test_ec2_may_be_at_work_on_the_host(
    reader: AwsReader, aws: Emulator, event: tuple[str, float, float], changes: int
) -> None:
    """Within the window of a scheduled event after which the instance runs on."""
    now = aws.core.clock()
    code, begins_s, lasts_s = event
    scheduled = HostEvent("instance-event-1", code, now + begins_s, lasts_s)
    aws.world.instances[_HOSTS[0]].events.append(scheduled)
    state = reader.begin(now).begin(_WEB, _BOUNDS)()
    assert len(state.changes or ()) == changes


@pytest.mark.parametrize(
    ("changed", "changes"),
    [
        ({}, 1),
        ({"Status": "Success"}, 0),
        ({"InstanceIds": [_HOSTS[1]]}, 0),
        ({"Comment": "01K9ZZZZZZZZZZZZZZZZZZZZZZ/0"}, 0),
    ],
    ids=["under way", "over", "elsewhere", "our own"],
)
def test_a_command_of_somebody_else_is_not_disturbed(
    reader: AwsReader, aws: Emulator, changed: dict[str, Any], changes: int
) -> None:
    """A maintenance window patches the host: CloudTrail has the tag that it was sent to."""
    command: dict[str, Any] = {
        "CommandId": "c",
        "DocumentName": "AWS-RunPatchBaseline",
        "Comment": "",
    }
    command |= {"Status": "InProgress", "StatusDetails": "", "InstanceIds": [_HOSTS[0]]}
    aws.world.commands.append(command | changed)
    state = reader.begin(aws.core.clock()).begin(_WEB, _BOUNDS)()
    assert len(state.changes or ()) == changes


def test_a_host_with_a_person_on_it_is_left_to_them(reader: AwsReader, aws: Emulator) -> None:
    """Their session began an hour ago, which CloudTrail's look does not reach."""
    for number in (0, 1):
        session = {"SessionId": f"alice-{number}", "Target": _HOSTS[number], "Owner": "alice"}
        aws.world.sessions.append(session)
    state = reader.begin(aws.core.clock()).begin(_WEB, _BOUNDS)()
    assert state.changes == [f"alice has a session on {_HOSTS[0]}"]


@pytest.mark.parametrize("code", ["AccessDeniedException", "AccessDenied", "InvalidInstanceId"])
@pytest.mark.parametrize("operation", ["DescribeSessions", "ListCommandInvocations"])
def test_without_systems_manager_nobody_is_on_the_host(
    reader: AwsReader, aws: Emulator, operation: str, code: str
) -> None:
    """The role may not ask, or the host is no managed node; the other read counts all the same."""

    def trouble(called: str, _: str) -> None:
        if called == operation:
            raise AwsError(code)

    aws.trouble = trouble
    read_at = aws.core.clock()
    assert reader.begin(read_at).begin(_WEB, _BOUNDS)().changes == []
    aws.world.sessions.append({"SessionId": "alice-0", "Target": _HOSTS[0], "Owner": "alice"})
    command: dict[str, Any] = {"CommandId": "c", "DocumentName": "patch", "Comment": ""}
    command |= {"Status": "InProgress", "StatusDetails": "", "InstanceIds": [_HOSTS[0]]}
    aws.world.commands.append(command)
    assert len(reader.begin(read_at).begin(_WEB, _BOUNDS)().changes or ()) == 1


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("ThrottlingException", 400),
        ("InternalServerError", 500),
        ("ServiceUnavailable", 503),
        ("ExpiredTokenException", 400),
    ],
)
@pytest.mark.parametrize("operation", ["DescribeSessions", "ListCommandInvocations"])
def test_nobody_is_on_the_host_only_where_aws_says_so(
    reader: AwsReader, aws: Emulator, operation: str, code: str, status: int
) -> None:
    def trouble(called: str, _: str) -> None:
        if called == operation:
            raise AwsError(code, status=status)

    aws.trouble = trouble
    assert reader.begin(aws.core.clock()).begin(_WEB, _BOUNDS)().changes is None
