"""Commands, target groups, traffic, quarantine and telling: what AWS answers, and refuses."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pydantic import ValidationError

from actions.aws.target_errors import NotActionableError
from actions.base import Action, CallResult, Outcome, Progress
from actions.catalog.registry import CATALOG
from actions.messaging import MessengerError
from tests.actions.catalog.stubbed_clients import (
    BLUE,
    GREEN,
    GROUP,
    HOST,
    OTHER,
    RULE,
    TOKEN,
    VPC,
    Stubbed,
    clients,
    stubbed,
)
from tests.fake_messenger import FakeMessenger

__all__ = ["clients", "stubbed"]

_ISOLATING, _USUAL = "sg-0123456789abcdef0", "sg-0123456789abcdef1"
_INTERFACE = "eni-0123456789abcdef0"
_restart, _document = CATALOG["restart_service"], CATALOG["run_document"]
_deregister, _register = CATALOG["deregister_target"], CATALOG["register_target"]
_shift = CATALOG["shift_traffic"]
_quarantine, _release = CATALOG["quarantine_instance"], CATALOG["release_quarantine"]
_shutdown, _end = CATALOG["emergency_shutdown"], CATALOG["end_emergency_shutdown"]
_silence = CATALOG["create_silence"]


def _refused(action: Action, stubbed: Stubbed, **params: Any) -> str:
    with pytest.raises(NotActionableError) as refusal:
        action.observe(stubbed.call(**params))
    return str(refusal.value)


def _agent(stubbed: Stubbed, *states: str) -> None:
    agents = [{"InstanceId": HOST, "PingStatus": state} for state in states]
    stubbed.answer(
        "ssm",
        "describe_instance_information",
        {"InstanceInformationList": agents},
        {"Filters": [{"Key": "InstanceIds", "Values": [HOST]}]},
    )


def _listed(stubbed: Stubbed, **comments: str) -> None:
    commands = [
        {"CommandId": letter * 36, "Comment": comment} for letter, comment in comments.items()
    ]
    expected = {"InstanceId": HOST, "MaxResults": 50}
    stubbed.answer("ssm", "list_commands", {"Commands": commands}, expected)


@pytest.mark.parametrize("action", [_restart, _document], ids=lambda action: action.name)
def test_a_command_needs_an_agent_that_listens(action: Action, stubbed: Stubbed) -> None:
    """Otherwise it would wait, and run when nobody expects it any more."""
    stubbed.instance("stopped")
    assert "is stopped" in _refused(action, stubbed)
    for states in ((), ("ConnectionLost",), ("Inactive",)):
        stubbed.instance()
        _agent(stubbed, *states)
        assert "is not online" in _refused(action, stubbed)
    stubbed.instance()
    _agent(stubbed, "Online")
    assert not action.observe(stubbed.call()).already


def test_a_command_is_sent_with_parameters_and_its_step(stubbed: Stubbed) -> None:
    """Values go as parameters of the document; the comment is how it is found again."""
    _listed(stubbed)
    stubbed.answer(
        "ssm_once",
        "send_command",
        {"Command": {"CommandId": "c" * 36}},
        {
            "InstanceIds": [HOST],
            "DocumentName": "SmartCloudOps-RestartService",
            "Comment": TOKEN,
            "TimeoutSeconds": 60,
            "Parameters": {"Service": ["app"], "Token": [TOKEN]},
        },
    )
    assert _restart.act(stubbed.call(service="app")) == {"command_id": "c" * 36}


def test_a_token_of_ones_own_does_not_pass_for_the_steps(stubbed: Stubbed) -> None:
    """Whatever a playbook calls `Token`, the document is guarded by the step's."""
    _listed(stubbed)
    stubbed.answer(
        "ssm_once",
        "send_command",
        {"Command": {"CommandId": "c" * 36}},
        {
            "InstanceIds": [HOST],
            "DocumentName": "SmartCloudOps-Own",
            "Comment": TOKEN,
            "TimeoutSeconds": 60,
            "Parameters": {"Path": ["/var/log"], "Token": [TOKEN]},
        },
    )
    parameters = {"Path": "/var/log", "Token": "mine"}
    _document.act(stubbed.call(document="SmartCloudOps-Own", parameters=parameters))


def test_a_command_that_was_sent_is_not_sent_again(stubbed: Stubbed) -> None:
    """It is found by the comment that is just this step's, and one that is not there is unknown."""
    _listed(stubbed, a=f"{TOKEN}0", b="", c=TOKEN)
    assert _restart.act(stubbed.call(service="app")) == {"command_id": "c" * 36}
    _listed(stubbed, a=f"{TOKEN}0", c=TOKEN)
    result = _restart.read_back(stubbed.call(service="app"))
    assert result == CallResult(Outcome.CHANGED, {"command_id": "c" * 36})
    _listed(stubbed, a=f"{TOKEN}0")
    assert _restart.read_back(stubbed.call(service="app")).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("status", "details", "progress"),
    [
        ("Pending", "Pending", Progress.UNDERWAY),
        ("InProgress", "InProgress", Progress.UNDERWAY),
        ("Delayed", "Delayed", Progress.UNDERWAY),
        ("Cancelling", "Cancelling", Progress.UNDERWAY),
        ("Success", "Success", Progress.DONE),
        ("Failed", "Failed", Progress.FAILED),
        ("TimedOut", "ExecutionTimedOut", Progress.FAILED),
        ("TimedOut", "Execution Timed Out", Progress.FAILED),
        ("TimedOut", "DeliveryTimedOut", Progress.NEVER_RAN),
        ("Failed", "Undeliverable", Progress.NEVER_RAN),
        ("Failed", "AccessDenied", Progress.NEVER_RAN),
        ("Failed", "InvalidPlatform", Progress.NEVER_RAN),
        ("Failed", "Terminated", Progress.NEVER_RAN),
        ("Failed", "SomethingNew", Progress.FAILED),
        ("Cancelled", "Cancelled", Progress.NEVER_RAN),
    ],
)
@pytest.mark.parametrize("began", ["", "2026-11-29T07:00:00Z"])
def test_a_command_goes_as_far_as_its_invocation_says(
    stubbed: Stubbed, status: str, details: str, progress: Progress, began: str
) -> None:
    """Only a success is done; what was cancelled, or expired, never ran unless it had begun."""
    answer = {"Status": status, "StatusDetails": details, "ExecutionStartDateTime": began}
    if began and progress is Progress.NEVER_RAN:
        progress = Progress.UNKNOWN
    expected = {"CommandId": "c" * 36, "InstanceId": HOST}
    stubbed.answer("ssm", "get_command_invocation", answer, expected)
    call = replace(stubbed.call(), made={"command_id": "c" * 36})
    assert _restart.progress(call) is progress


def test_an_invocation_that_is_not_there_yet_is_waited_for(stubbed: Stubbed) -> None:
    """As one is right after sending; any other error is passed on."""
    call = replace(stubbed.call(), made={"command_id": "c" * 36})
    stubbed.fail("ssm", "get_command_invocation", "InvocationDoesNotExist")
    assert _restart.progress(call) is Progress.UNDERWAY
    stubbed.fail("ssm", "get_command_invocation", "AccessDeniedException")
    with pytest.raises(ClientError):
        _restart.progress(call)
    assert _restart.progress(stubbed.call()) is Progress.UNDERWAY


_HOSTILE = ("a; reboot", "$(reboot)", "`reboot`", "a\nb", "a'b", 'a"b', "a|b", "a>b", "{{x}}")
_WRONG: list[tuple[str, Mapping[str, Any]]] = [
    *(
        ("restart_service", {"service": service})
        for service in ("", "a b", "a/b", "x" * 65, *_HOSTILE)
    ),
    ("restart_service", {}),
    ("restart_service", {"service": "app", "document": "AWS-RunShellScript"}),
    *(
        ("run_document", {"document": document})
        for document in (
            "AWS-RunShellScript",
            "SmartCloudOps-",
            "xSmartCloudOps-A",
            "SmartCloudOps-a/b",
        )
    ),
    *(
        ("run_document", {"document": "SmartCloudOps-A", "parameters": {"Path": text}})
        for text in _HOSTILE
    ),
    ("run_document", {"document": "SmartCloudOps-A", "parameters": {"a b": "x"}}),
    ("run_document", {"document": "SmartCloudOps-A", "parameters": {"Days": 1}}),
    ("deregister_target", {"target_groups": ["blue"]}),
    ("register_target", {"target_groups": [RULE]}),
    ("shift_traffic", {"rule": RULE, "weights": {}}),
    ("shift_traffic", {"rule": RULE, "weights": {BLUE: 0, GREEN: 0}}),
    ("shift_traffic", {"rule": RULE, "weights": {BLUE: 1000, GREEN: 0}}),
    ("shift_traffic", {"rule": RULE, "weights": {BLUE: -1, GREEN: 1}}),
    ("shift_traffic", {"rule": BLUE, "weights": {BLUE: 1, GREEN: 1}}),
    ("quarantine_instance", {}),
    ("quarantine_instance", {"security_group": "default"}),
    ("release_quarantine", {"groups": {}}),
    ("release_quarantine", {"groups": {_INTERFACE: []}}),
    ("emergency_shutdown", {"security_group": "sg-1"}),
    ("notify", {"to": "On Call", "message": "x"}),
    ("notify", {"to": "oncall", "message": ""}),
    ("notify", {"to": "oncall", "message": "x" * 1001}),
    ("page", {"topic": "oncall", "message": "x"}),
    ("create_silence", {"alertnames": []}),
    ("create_silence", {"alertnames": [".*"]}),
    ("create_silence", {"alertnames": ["A"], "duration_s": 14_401}),
    ("expire_silence", {"silences": []}),
    ("expire_silence", {"silences": ["../silences"]}),
]


@pytest.mark.parametrize(("name", "params"), _WRONG)
def test_what_a_parameter_may_not_be(name: str, params: Mapping[str, Any]) -> None:
    """Nothing that a shell, a pattern or an empty list could make more of."""
    with pytest.raises(ValidationError):
        CATALOG[name].params.model_validate(params)


def test_the_last_healthy_target_stays(stubbed: Stubbed) -> None:
    """Of each of its target groups; those that are being drained count for nothing."""
    for other in ("unhealthy", "draining", "initial"):
        stubbed.instance()
        stubbed.group(HOST, OTHER, target_groups=(BLUE,))
        stubbed.health(BLUE, host="unhealthy", other=other)
        assert f"no healthy target but {HOST} is left in {BLUE}" in _refused(_deregister, stubbed)


def test_a_target_is_taken_out_of_where_it_is_and_put_back_there(stubbed: Stubbed) -> None:
    """One target group of two, as it was in no other; done once the draining is over."""
    stubbed.instance()
    stubbed.group(HOST, OTHER)
    stubbed.health(BLUE, host="healthy", other="healthy")
    stubbed.health(GREEN, other="healthy")
    call = stubbed.call()
    observation = _deregister.observe(call)
    assert (observation.already, observation.before) == (False, {"targets": {BLUE: [[HOST, 8080]]}})
    call = replace(call, before=observation.before)
    expected = {"TargetGroupArn": BLUE, "Targets": [{"Id": HOST, "Port": 8080}]}
    stubbed.answer("elbv2", "deregister_targets", {}, expected)
    assert _deregister.act(call) == {}
    stubbed.health(BLUE, host="draining", other="healthy")
    assert _deregister.progress(call) is Progress.UNDERWAY
    stubbed.health(BLUE, other="healthy")
    assert _deregister.progress(call) is Progress.DONE
    undo = _deregister.undo(call)
    assert undo is not None
    target = {"target_group": BLUE, "id": HOST, "port": 8080}
    assert (undo.action, undo.params) == ("register_target", {"targets": [target]})


def test_a_target_that_is_in_none_is_left(stubbed: Stubbed) -> None:
    """The wish holds already."""
    stubbed.instance()
    stubbed.group(HOST, OTHER)
    stubbed.health(BLUE, host="draining", other="healthy")
    stubbed.health(GREEN, other="healthy")
    assert _deregister.observe(stubbed.call()).already


@pytest.mark.parametrize(
    ("blue", "green", "out", "into"),
    [
        ("healthy", "healthy", Outcome.FAILED, Outcome.CHANGED),
        ("draining", "healthy", Outcome.UNKNOWN, Outcome.UNKNOWN),
        ("draining", "unused", Outcome.CHANGED, Outcome.FAILED),
    ],
)
def test_a_lost_answer_is_settled_by_where_the_target_is(
    stubbed: Stubbed, blue: str, green: str, out: Outcome, into: Outcome
) -> None:
    """All of it happened, nothing did, or nobody knows."""
    call = replace(
        stubbed.call(), before={"targets": {BLUE: [[HOST, 8080]], GREEN: [[HOST, None]]}}
    )
    for action, outcome in ((_deregister, out), (_register, into)):
        stubbed.health(BLUE, host=blue)
        stubbed.health(GREEN, host=green)
        assert action.read_back(call).outcome is outcome


def test_only_a_running_member_of_a_group_is_registered(stubbed: Stubbed) -> None:
    """Elsewhere there is nothing to put it into."""
    stubbed.instance("stopped")
    assert "is stopped" in _refused(_register, stubbed)
    stubbed.instance(group=None)
    assert "belongs to no target group" in _refused(_register, stubbed)
    stubbed.instance()
    stubbed.group(HOST, target_groups=())
    assert "belongs to no target group" in _refused(_register, stubbed)


def test_a_registered_target_is_waited_for_until_it_is_healthy(stubbed: Stubbed) -> None:
    """Only then does it serve. A record of an earlier version names no ports."""
    call = replace(stubbed.call(), before={"target_groups": [BLUE]})
    for state, progress in (("initial", Progress.UNDERWAY), ("healthy", Progress.DONE)):
        stubbed.health(BLUE, host=state)
        assert _register.progress(call) is progress


def _rule(stubbed: Stubbed, blue: int, green: int, *more: Mapping[str, Any]) -> None:
    weighted = [
        {"TargetGroupArn": BLUE, "Weight": blue},
        {"TargetGroupArn": GREEN, "Weight": green},
    ]
    forward = {
        "Type": "forward",
        "Order": 2,
        "ForwardConfig": {
            "TargetGroups": weighted,
            "TargetGroupStickinessConfig": {"Enabled": True, "DurationSeconds": 300},
        },
    }
    answer = {"Rules": [{"RuleArn": RULE, "Actions": [*more, forward]}]}
    stubbed.answer("elbv2", "describe_rules", answer, {"RuleArns": [RULE]})


_SIGN_IN = {
    "Type": "authenticate-oidc",
    "Order": 1,
    "AuthenticateOidcConfig": {
        "Issuer": "https://id.example",
        "AuthorizationEndpoint": "https://id.example/authorize",
        "TokenEndpoint": "https://id.example/token",
        "UserInfoEndpoint": "https://id.example/user",
        "ClientId": "web",
    },
}


def test_only_the_weights_of_a_rule_change(stubbed: Stubbed) -> None:
    """Order and stickiness stay, and signing in keeps the secret that AWS does not show."""
    call = stubbed.call(GROUP, rule=RULE, weights={BLUE: 0, GREEN: 100})
    _rule(stubbed, 90, 10, _SIGN_IN)
    observation = _shift.observe(call)
    assert (observation.already, observation.before) == (False, {"weights": {BLUE: 90, GREEN: 10}})
    _rule(stubbed, 90, 10, _SIGN_IN)
    oidc: dict[str, Any] = dict(_SIGN_IN)
    oidc["AuthenticateOidcConfig"] = {
        **oidc["AuthenticateOidcConfig"],
        "UseExistingClientSecret": True,
    }
    forward = {
        "Type": "forward",
        "Order": 2,
        "ForwardConfig": {
            "TargetGroups": [
                {"TargetGroupArn": BLUE, "Weight": 0},
                {"TargetGroupArn": GREEN, "Weight": 100},
            ],
            "TargetGroupStickinessConfig": {"Enabled": True, "DurationSeconds": 300},
        },
    }
    stubbed.answer("elbv2", "modify_rule", {}, {"RuleArn": RULE, "Actions": [oidc, forward]})
    assert _shift.act(call) == {}
    undo = _shift.undo(replace(call, before=observation.before))
    assert undo is not None
    assert undo.params == {"rule": RULE, "weights": {BLUE: 90, GREEN: 10}}


def test_a_lost_shift_is_settled_by_the_weights(stubbed: Stubbed) -> None:
    """And once a person has changed them, they are not ours to take back."""
    call = stubbed.call(GROUP, rule=RULE, weights={BLUE: 0, GREEN: 100})
    call = replace(call, before={"weights": {BLUE: 90, GREEN: 10}})
    for weights, outcome, left in (
        ((0, 100), Outcome.CHANGED, True),
        ((90, 10), Outcome.FAILED, False),
        ((50, 50), Outcome.UNKNOWN, False),
    ):
        for _ in range(2):
            _rule(stubbed, *weights)
        assert _shift.read_back(call).outcome is outcome
        assert _shift.unchanged_since(call) is left


def test_a_rule_that_is_another_is_not_changed(stubbed: Stubbed) -> None:
    """Other target groups, no forwarding, or no rule at all."""
    stranger = BLUE.replace("blue", "red")
    _rule(stubbed, 90, 10)
    params = {"rule": RULE, "weights": {BLUE: 0, stranger: 100}}
    assert "other target groups" in _refused(_shift, stubbed, **params)
    redirect = {"Type": "redirect", "RedirectConfig": {"StatusCode": "HTTP_301"}}
    stubbed.answer("elbv2", "describe_rules", {"Rules": [{"Actions": [redirect]}]})
    assert "needs exactly one forward action" in _refused(_shift, stubbed, **params)
    stubbed.answer("elbv2", "describe_rules", {"Rules": []})
    assert "does not exist" in _refused(_shift, stubbed, **params)
    stubbed.fail("elbv2", "describe_rules", "RuleNotFound")
    with pytest.raises(ClientError):
        _shift.observe(stubbed.call(GROUP, **params))


def _security_group(stubbed: Stubbed, **more: Any) -> None:
    rules: dict[str, Any] = {"IpPermissions": [], "IpPermissionsEgress": []}
    group = {"GroupId": _ISOLATING, "VpcId": VPC, **rules, **more}
    expected = {"Filters": [{"Name": "group-id", "Values": [_ISOLATING]}]}
    stubbed.answer("ec2", "describe_security_groups", {"SecurityGroups": [group]}, expected)


@pytest.mark.parametrize("action", [_quarantine, _shutdown], ids=lambda action: action.name)
def test_a_group_that_would_not_isolate_is_refused(action: Action, stubbed: Stubbed) -> None:
    """Before anything is tagged, copied or stopped."""
    params = {"security_group": _ISOLATING}
    stubbed.answer("ec2", "describe_security_groups", {"SecurityGroups": []})
    assert "does not exist" in _refused(action, stubbed, **params)
    without_rules = {"GroupId": _ISOLATING, "VpcId": VPC}
    stubbed.answer("ec2", "describe_security_groups", {"SecurityGroups": [without_rules]})
    assert "has inbound rules" in _refused(action, stubbed, **params)
    _security_group(stubbed, IpPermissions=[{"IpProtocol": "-1"}])
    assert "has inbound rules" in _refused(action, stubbed, **params)
    _security_group(stubbed)
    stubbed.interfaces(_USUAL, vpc="vpc-0123456789abcdef1")
    assert "is in another VPC than" in _refused(action, stubbed, **params)


@pytest.mark.parametrize("action", [_quarantine, _shutdown], ids=lambda action: action.name)
def test_a_group_is_found_by_its_name_in_the_vpc(action: Action, stubbed: Stubbed) -> None:
    """A playbook that names no id runs in each account; a group that is missing is refused."""
    call = stubbed.call(security_group="smartcloudops-isolation")
    filters = [
        {"Name": "group-name", "Values": ["smartcloudops-isolation"]},
        {"Name": "vpc-id", "Values": [VPC]},
    ]
    for groups in ([{"GroupId": _ISOLATING}], []):
        stubbed.interfaces(_USUAL)
        stubbed.answer(
            "ec2", "describe_security_groups", {"SecurityGroups": groups}, {"Filters": filters}
        )
    assert action.bind(call)["security_group"] == _ISOLATING
    with pytest.raises(NotActionableError, match="has no security group smartcloudops-isolation"):
        action.bind(call)


@pytest.mark.parametrize("state", ["pending", "stopping", "shutting-down", "terminated"])
def test_an_instance_in_between_is_not_quarantined(stubbed: Stubbed, state: str) -> None:
    """Its interfaces come and go."""
    _security_group(stubbed)
    stubbed.interfaces(_USUAL)
    stubbed.instance(state)
    stubbed.interfaces(_USUAL)
    assert f"is {state}" in _refused(_quarantine, stubbed, security_group=_ISOLATING)


def _disks(stubbed: Stubbed, *kept: str) -> None:
    """Two disks, some of which this step has kept already."""
    volumes = [{"VolumeId": "vol-1"}, {"VolumeId": "vol-2"}]
    stubbed.answer("ec2", "describe_volumes", {"Volumes": volumes})
    expected = {
        "OwnerIds": ["self"],
        "Filters": [{"Name": "tag:smartcloudops:quarantined", "Values": [TOKEN]}],
    }
    answer = {"Snapshots": [{"VolumeId": volume} for volume in kept]}
    stubbed.answer("ec2", "describe_snapshots", answer, expected)


def _cut_off(stubbed: Stubbed) -> None:
    """One interface that gets the isolating group."""
    stubbed.interfaces(_USUAL)
    expected = {"NetworkInterfaceId": _INTERFACE, "Groups": [_ISOLATING]}
    stubbed.answer("ec2", "modify_network_interface_attribute", {}, expected)


def _marked(stubbed: Stubbed) -> None:
    """Once it is cut off."""
    stubbed.interfaces(_ISOLATING)
    tags = [{"Key": "smartcloudops:quarantined", "Value": TOKEN}]
    stubbed.answer("ec2", "create_tags", {}, {"Resources": [HOST], "Tags": tags})


def test_each_disk_is_kept_once_however_often_it_is_tried(stubbed: Stubbed) -> None:
    """The second time finds the first one's snapshot by its tag."""
    tags = [{"Key": "smartcloudops:quarantined", "Value": TOKEN}]
    for kept in ((), ("vol-1",), ("vol-1", "vol-2")):
        _cut_off(stubbed)
        _marked(stubbed)
        _disks(stubbed, *kept)
        for volume in sorted({"vol-1", "vol-2"} - set(kept)):
            expected = {
                "VolumeId": volume,
                "Description": f"{HOST} quarantined by {TOKEN}",
                "TagSpecifications": [{"ResourceType": "snapshot", "Tags": tags}],
            }
            stubbed.answer("ec2_once", "create_snapshot", {}, expected)
        assert _quarantine.act(stubbed.call(security_group=_ISOLATING)) == {}


@pytest.mark.parametrize(
    ("groups", "outcome"),
    [
        ([_ISOLATING], Outcome.CHANGED),
        ([_USUAL], Outcome.FAILED),
        ([_ISOLATING, _USUAL], Outcome.UNKNOWN),
    ],
)
def test_a_lost_quarantine_is_settled_by_its_groups(
    stubbed: Stubbed, groups: list[str], outcome: Outcome
) -> None:
    """A group more than the isolating one is no isolation."""
    call = stubbed.call(security_group=_ISOLATING)
    call = replace(call, before={"groups": {_INTERFACE: [_USUAL]}})
    stubbed.interfaces(*groups)
    _disks(stubbed, "vol-1", "vol-2")
    stubbed.instance(quarantined=True)
    if outcome is not Outcome.CHANGED:
        stubbed.interfaces(*groups)
    assert _quarantine.read_back(call).outcome is outcome
    stubbed.interfaces(*groups)
    assert _quarantine.unchanged_since(call) is (outcome is Outcome.CHANGED)


@pytest.mark.parametrize("action", [_release, _end], ids=lambda action: action.name)
def test_what_has_other_interfaces_is_not_released(action: Action, stubbed: Stubbed) -> None:
    """Its former groups belong to others."""
    if action is _end:
        stubbed.instance("stopped")
    stubbed.interfaces(_ISOLATING)
    groups = {"eni-0123456789abcdef9": [_USUAL]}
    assert "has other interfaces" in _refused(action, stubbed, groups=groups)


def test_a_shutdown_begun_anew_skips_what_is_done(stubbed: Stubbed) -> None:
    """An instance that is detached is not detached again, which would be an error."""
    call = stubbed.call(security_group=_ISOLATING, snapshot=False)
    call = replace(call, before={"groups": {}, "state": "running", "group": GROUP})
    for members in ((HOST, OTHER), (OTHER,)):
        stubbed.group(*members)
        _cut_off(stubbed)
        if HOST in members:
            expected = {
                "InstanceIds": [HOST],
                "AutoScalingGroupName": GROUP,
                "ShouldDecrementDesiredCapacity": False,
            }
            stubbed.answer("autoscaling_once", "detach_instances", {}, expected)
        stubbed.answer("ec2", "stop_instances", {}, {"InstanceIds": [HOST]})
        _marked(stubbed)
        assert _shutdown.act(call) == {}


def test_a_shutdown_is_done_when_it_has_stopped(stubbed: Stubbed) -> None:
    """One that stops is under way."""
    for state, progress in (("stopping", Progress.UNDERWAY), ("stopped", Progress.DONE)):
        stubbed.instance(state)
        assert _shutdown.progress(stubbed.call()) is progress


def test_people_are_told_by_whom_and_about_what(stubbed: Stubbed) -> None:
    """The run leads to the whole story."""
    CATALOG["notify"].act(stubbed.call(to="oncall", message="look"))
    text = f"look\nTarget {HOST}, run {TOKEN[:26]}"
    assert stubbed.messenger.notifications == [("oncall", f"SmartCloudOps: {HOST}", text)]
    topic = "arn:aws:sns:eu-west-1:123456789012:oncall"
    expected = {"TopicArn": topic, "Subject": f"SmartCloudOps: {HOST}", "Message": text}
    stubbed.answer("sns", "publish", {"MessageId": "m1"}, expected)
    created = CATALOG["page"].act(stubbed.call(topic=topic, message="look"))
    assert created == {"message_id": "m1"}


@pytest.mark.parametrize(("target", "label"), [(HOST, "instance_id"), (GROUP, "asg")])
def test_a_silence_is_about_the_target_alone(stubbed: Stubbed, target: str, label: str) -> None:
    """One for each alert; ended with the run, unless somebody has ended them."""
    call = stubbed.call(target, alertnames=["InstanceDown", "ServiceDown"], duration_s=600)
    assert not _silence.observe(call).already
    call = replace(call, made=_silence.act(call))
    assert [dict(matchers) for matchers, _ in stubbed.messenger.active.values()] == [
        {"alertname": "InstanceDown", label: target},
        {"alertname": "ServiceDown", label: target},
    ]
    assert _silence.read_back(call) == CallResult(Outcome.CHANGED, call.made)
    undo = _silence.undo(call)
    assert undo is not None
    CATALOG[undo.action].act(replace(call, params=undo.params))
    assert (stubbed.messenger.active, _silence.unchanged_since(call)) == ({}, False)


@dataclass
class _OneSilence(FakeMessenger):
    """Takes one silence, and then fails."""

    sent: bool = False

    def create_silence(self, matchers: Mapping[str, str], *, lasts_s: float, comment: str) -> str:
        if self.active:
            self.broken = MessengerError("Alertmanager answered 503", sent=self.sent)
        return super().create_silence(matchers, lasts_s=lasts_s, comment=comment)


@pytest.mark.parametrize("sent", [False, True])
def test_silences_of_which_one_failed_are_not_forgotten(stubbed: Stubbed, *, sent: bool) -> None:
    """What came of the step is unknown, and what was made ends with the run."""
    call = stubbed.call(alertnames=["InstanceDown", "ServiceDown", "HighCPU"])
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


def test_a_silence_that_was_refused_was_not_made(stubbed: Stubbed) -> None:
    """The first one, so that nothing is left behind."""
    stubbed.messenger.broken = MessengerError("Alertmanager answered 400", sent=False)
    call = stubbed.call(alertnames=["InstanceDown"])
    with pytest.raises(MessengerError) as caught:
        _silence.act(call)
    assert not caught.value.sent
    assert _silence.read_back(call) == CallResult(Outcome.FAILED)
