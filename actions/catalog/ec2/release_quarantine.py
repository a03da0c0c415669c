"""Give an instance in quarantine its previous security groups back.

With `exit_standby` it returns to service in its group, which checks its health again; while it is
still on its way into standby, the step waits. It rolls back `quarantine_instance`, which
records them.

```yaml
- action: release_quarantine
  params:
    groups: {eni-0123456789abcdef0: [sg-0123456789abcdef0]}
```
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from actions.aws.groups import read_group
from actions.aws.instances import read_instance
from actions.aws.tags import QUARANTINE_TAG
from actions.aws.target_errors import NotActionableError, StillChangingError
from actions.base import Action, Call, CallResult, Impact, Observation, Outcome, Params, TargetKind
from actions.catalog.ec2._isolation import (
    RELEASE_PERMISSIONS,
    GroupId,
    assign,
    security_groups,
    unchanged_or_unknown,
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
        groups = security_groups(call)
        if groups.keys() != call.params["groups"].keys():
            raise NotActionableError(
                f"{call.target} has other interfaces than before its quarantine: "
                "set its security groups by hand"
            )
        if call.params.get("exit_standby"):
            _require_arrived(call)
        return Observation(already=self._released(call), before={"groups": groups})

    def act(self, call: Call) -> Mapping[str, Any]:
        assign(call, call.params["groups"])
        tags = [{"Key": QUARANTINE_TAG}]
        call.aws.ec2.delete_tags(Resources=[call.target], Tags=tags)  # type: ignore[arg-type] # a dict of the same keys
        if call.params.get("exit_standby") and (group := _standby(call)):
            call.aws.autoscaling_once.exit_standby(
                InstanceIds=[call.target], AutoScalingGroupName=group
            )
        return {}

    def read_back(self, call: Call) -> CallResult:
        return CallResult(Outcome.CHANGED) if self._released(call) else unchanged_or_unknown(call)

    def _released(self, call: Call) -> bool:
        wanted = {interface: sorted(ids) for interface, ids in call.params["groups"].items()}
        tagged = QUARANTINE_TAG in read_instance(call.aws, call.target).tags
        waits = call.params.get("exit_standby") and _standby(call)
        return security_groups(call) == wanted and not tagged and not waits


def _lifecycle(call: Call) -> tuple[str, str]:
    """The instance's group and its lifecycle state there, empty for one of no group."""
    name = read_instance(call.aws, call.target).group or ""
    member = read_group(call.aws, name).members.get(call.target) if name else None
    return name, member.lifecycle if member else ""


def _require_arrived(call: Call) -> None:
    """Raises StillChangingError while the instance is drained on its way into standby."""
    group, lifecycle = _lifecycle(call)
    if lifecycle == "EnteringStandby":
        raise StillChangingError(f"{call.target} is {lifecycle} in {group}: its release must wait")


def _standby(call: Call) -> str | None:
    """The group in which the instance is in standby, or None."""
    group, lifecycle = _lifecycle(call)
    return group if "Standby" in lifecycle else None
