"""Capture what a step is about to destroy: what AWS and the host itself show of the target.

From AWS: the console's output and a screenshot of it, where EC2 gives them, the health in its
target groups, and the group's last scaling activities. From the host, through the document
`SmartCloudOps-Capture` (in `deploy/ssm/`): the journal's end, the top processes, sockets, and the
use of disks; nothing where the SSM agent is offline.

It changes nothing, runs beside what comes before the step, and cannot block the step. Each
disruptive or destructive step on an instance has it without being told; a destructive one waits up
to 5 seconds for it. Of one that does not wait the host is asked before, and AWS right after the
call. `wait_s` sets that time:

```yaml
- action: reboot_instance
  before:
    - action: capture
      params: {wait_s: 5}
```
"""

import base64
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from actions.aws.groups import read_group
from actions.aws.instances import INSTANCE_ID
from actions.aws.target_errors import NotActionableError
from actions.base import (
    Action,
    Call,
    CallResult,
    Impact,
    Observation,
    Outcome,
    Params,
    TargetKind,
)
from actions.catalog.ssm._commands import made_by, read_invocation, send_new, why_not_reached
from actions.evidence import EvidenceError, EvidenceStore

DOCUMENT = "SmartCloudOps-Capture"
# Longer than that no step waits.
WAIT_MAX_S = 5
_ACTIVITIES_MAX = 20
_RUNNING = frozenset({"Pending", "InProgress", "Delayed", "Cancelling"})


class CaptureParams(Params):
    wait_s: Annotated[int, Field(ge=0, le=WAIT_MAX_S)] = 0


class Capture(Action):
    name = "capture"
    target = TargetKind.ANY
    impact = Impact.HARMLESS
    claims = False
    idempotent = False
    params = CaptureParams
    permissions = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeScalingActivities",
        "ec2:GetConsoleOutput",
        "ec2:GetConsoleScreenshot",
        "elasticloadbalancing:DescribeTargetHealth",
        "ssm:DescribeInstanceInformation",
        "ssm:GetCommandInvocation",
        "ssm:SendCommand",
    )

    def observe(self, call: Call) -> Observation:
        """Raises NotActionableError where no archive keeps anything."""
        _store_of(call)
        return Observation(already=False, before={})

    def act(self, call: Call) -> Mapping[str, Any]:
        """Send the command; then keep what AWS shows, and in a third call what the host said."""
        if not call.made:
            sent, missing = _store_of(call).gather({"host": lambda: _send(call)})
            return {**sent.get("host", {}), "missing": missing}
        if not _has(call.made, "aws"):
            return _keep(call, "aws", _views(call))
        return _keep(call, "host", {"host": lambda: _host_output(call)})

    def has_written(self, made: Mapping[str, Any]) -> bool:
        """No command is sent to a host whose agent is offline, or that is none."""
        return "command_id" in made

    def next_call(self, call: Call) -> Mapping[str, Any] | None:
        """The second call at once, the third one when the host's command has ended."""
        if not _has(call.made, "aws"):
            return call.made
        if not is_waited_for(call.made):
            return None
        answer = read_invocation(call)
        if answer is None or answer["Status"] in _RUNNING:
            return None
        # It does not change any more.
        call.seen["invocation"] = answer
        return call.made

    def read_back(self, call: Call) -> CallResult:
        del call
        return CallResult(Outcome.UNKNOWN)


def capture_wait_s(action: Action) -> int | None:
    """How long a step with this action waits for the host's part; None: nothing is captured.

    Of a group nobody knows which instance is lost.
    """
    if action.target is not TargetKind.INSTANCE:
        return None
    return {Impact.DISRUPTIVE: 0, Impact.DESTRUCTIVE: WAIT_MAX_S}.get(action.impact)


def is_waited_for(made: Mapping[str, Any]) -> bool:
    """Whether a part is still to come."""
    return not _has(made, "aws") or ("command_id" in made and not _has(made, "host"))


def _has(made: Mapping[str, Any], part: str) -> bool:
    names = (item["name"] for item in made.get("objects", ()))
    return part in made.get("missing", {}) or any(name.endswith(f"-{part}.json") for name in names)


def _store_of(call: Call) -> EvidenceStore:
    if call.evidence is None:
        raise NotActionableError("no archive keeps what is captured")
    return call.evidence


def _send(call: Call) -> Mapping[str, Any]:
    if not INSTANCE_ID.fullmatch(call.target):
        raise NotActionableError("only an instance is asked")
    if reason := why_not_reached(call):
        raise NotActionableError(reason)
    return made_by(send_new(call, DOCUMENT, {}))


def _keep(call: Call, part: str, views: Mapping[str, Callable[[], Any]]) -> Mapping[str, Any]:
    """What was made, with the object that has each view of this part, and why some are missing."""
    made = call.made
    found, missing = _store_of(call).gather(views)
    name = f"{call.token.replace('/', '-')}-{part}.json"
    objects = list(made.get("objects", ()))
    try:
        if found:
            objects.append(_store_of(call).keep(name, {"target": call.target, **found}))
        else:
            missing.setdefault(part, "nothing was shown")
    except EvidenceError as error:
        missing[part] = str(error)
    return {**made, "objects": objects, "missing": {**made.get("missing", {}), **missing}}


def _views(call: Call) -> Mapping[str, Callable[[], Any]]:
    """What AWS shows of the target, by name; what passes first is read first."""
    views: dict[str, Callable[[], Any]] = {}
    if INSTANCE_ID.fullmatch(call.target):
        views["screenshot_jpg"] = lambda: _screenshot(call)
        views["console_output"] = lambda: _console_output(call)
    return {**views, "group": lambda: _group_view(call)}


def _screenshot(call: Call) -> bytes:
    """See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleScreenshot.html ."""
    answer = call.aws.ec2.get_console_screenshot(InstanceId=call.target)
    return base64.b64decode(answer["ImageData"])


def _console_output(call: Call) -> str:
    """The latest output where the instance type has it, else what EC2 kept of its last start.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_GetConsoleOutput.html
    """
    ec2 = call.aws.ec2
    latest, _ = _store_of(call).gather(
        {"": lambda: ec2.get_console_output(InstanceId=call.target, Latest=True)}
    )
    answer = latest.get("") or ec2.get_console_output(InstanceId=call.target)
    return str(answer.get("Output", ""))


def _group_view(call: Call) -> Mapping[str, Any]:
    """The target's health in its target groups, and the last activities of its group."""
    of_instance = INSTANCE_ID.fullmatch(call.target)
    name = call.group_name if of_instance else call.target
    if not name:
        return {}
    activities = call.aws.autoscaling.describe_scaling_activities(
        AutoScalingGroupName=name, MaxRecords=_ACTIVITIES_MAX
    )
    return {
        "name": name,
        "target_health": list(_healths(call, name)),
        "scaling_activities": activities["Activities"],
    }


def _healths(call: Call, group: str) -> Iterator[Mapping[str, Any]]:
    known = call.target_groups
    for arn in read_group(call.aws, group).target_groups if known is None else known:
        answer = call.aws.elbv2.describe_target_health(TargetGroupArn=arn)
        for health in answer["TargetHealthDescriptions"]:
            if call.target in {group, health["Target"]["Id"]}:
                yield {"target_group": arn, **health}


def _host_output(call: Call) -> Mapping[str, Any]:
    """Raises NotActionableError where the command did not run to its end."""
    answer = call.seen.get("invocation") or read_invocation(call)
    if answer is None or not answer.get("StandardOutputContent"):
        status = answer["StatusDetails"] if answer else "not known"
        raise NotActionableError(f"the command is {status}")
    # A host that is slow to hear of it may have run it only after the step.
    return {
        "started_at": answer["ExecutionStartDateTime"],
        "output": answer["StandardOutputContent"],
    }
