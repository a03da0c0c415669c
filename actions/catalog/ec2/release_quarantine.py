"""Give an instance in quarantine its previous security groups back.

With `exit_standby` it returns to service in its group, which checks its health again: it must run.
While it is still on its way into standby, the step waits. It rolls back `quarantine_instance`,
which records them.

```yaml
- action: release_quarantine
  params:
    groups: {eni-0123456789abcdef0: [sg-0123456789abcdef0]}
```
"""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from actions.aws.groups import read_group
from actions.aws.instances import read_instance
from actions.aws.tags import QUARANTINE_TAG
from actions.aws.target_errors import NotActionableError, StillChangingError, make_in_turn
from actions.base import Action, Call, CallResult, Impact, Observation, Outcome, Params, TargetKind
from actions.catalog.autoscaling._standby import require_running
from actions.catalog.ec2._isolation import (
    RELEASE_PERMISSIONS,
    GroupId,
    assign,
    security_groups,
)


class ReleaseParams(Params):
    """Security groups by network interface."""

    exit_standby: bool = False

    groups: Annotated[
        dict[
            Annotated[str, StringConstraints(pattern=r"^eni-[0-9a-f]{8,17}$")],
            Annotated[list[GroupId], Field(min_length=1)],
        ],
        Field(min_length=1),
    ]


class ReleaseQuarantine(Action):
    name = "release_quarantine"
    target = TargetKind.INSTANCE
    impact = Impact.REVERSIBLE
    allowed_during_changes = True
    idempotent = True
    permissions = (
        *RELEASE_PERMISSIONS,
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:ExitStandby",
    )
    params = ReleaseParams

    def observe(self, call: Call) -> Observation:
        if security_groups(call).keys() != call.params["groups"].keys():
            raise NotActionableError(
                f"{call.target} has other interfaces than before its quarantine: "
                "set its security groups by hand"
            )
        if call.params.get("exit_standby"):
            _require_arrived(call)
        before = _state(call)
        return Observation(already=before == _wanted(call), before=before)

    def act(self, call: Call) -> Mapping[str, Any]:
        wanted = call.params["groups"].items()
        make_in_turn(
            *(partial(assign, call, interface, ids) for interface, ids in wanted),
            partial(_untag, call),
            partial(_exit_standby, call),
        )
        return {}

    def read_back(self, call: Call) -> CallResult:
        state = _state(call)
        if state == _wanted(call):
            return CallResult(Outcome.CHANGED)
        # Records of earlier versions have the groups alone.
        same = all(call.before.get(name, value) == value for name, value in state.items())
        return CallResult(Outcome.FAILED if same else Outcome.UNKNOWN)


def _state(call: Call) -> dict[str, Any]:
    """What the step changes, as AWS shows it: `standby` is empty where it is left as it is."""
    return {
        "groups": security_groups(call),
        "tagged": QUARANTINE_TAG in read_instance(call.aws, call.target).tags,
        "standby": _standby(call) if call.params.get("exit_standby") else "",
    }


def _wanted(call: Call) -> dict[str, Any]:
    groups = {interface: sorted(ids) for interface, ids in call.params["groups"].items()}
    return {"groups": groups, "tagged": False, "standby": ""}


def _untag(call: Call) -> None:
    tags = [{"Key": QUARANTINE_TAG}]
    call.aws.ec2.delete_tags(Resources=[call.target], Tags=tags)  # type: ignore[arg-type] # a dict of the same keys


def _exit_standby(call: Call) -> None:
    if call.params.get("exit_standby") and (group := _standby(call)):
        call.aws.autoscaling_once.exit_standby(
            InstanceIds=[call.target], AutoScalingGroupName=group
        )


def _lifecycle(call: Call) -> tuple[str, str]:
    """The instance's group and its lifecycle state there, empty for one of no group."""
    name = read_instance(call.aws, call.target).group or ""
    member = read_group(call.aws, name).members.get(call.target) if name else None
    return name, member.lifecycle if member else ""


def _require_arrived(call: Call) -> None:
    """Raises StillChangingError while the instance is drained on its way into standby.

    And NotActionableError where its group would terminate it on its return.
    """
    group, lifecycle = _lifecycle(call)
    if lifecycle == "EnteringStandby":
        raise StillChangingError(f"{call.target} is {lifecycle} in {group}: its release must wait")
    if lifecycle == "Standby":
        require_running(read_instance(call.aws, call.target))


def _standby(call: Call) -> str:
    """The group in which the instance is in standby, or nothing."""
    group, lifecycle = _lifecycle(call)
    return group if "Standby" in lifecycle else ""
