"""Resume suspended processes of an Auto Scaling group.

It is refused where the group would then terminate a member: one that was marked Unhealthy, that
does not run, or that is in quarantine. `set_healthy` are members on which this service acted: they
must run, pass their status checks and serve behind their load balancer, and are set Healthy first;
the step waits while one of them still starts. It is refused while one of them is in standby, or
detached, and AZRebalance would terminate another one for it.

```yaml
- action: resume_processes
  params: {processes: [ReplaceUnhealthy]}
```
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from actions.aws.group_behaviour import is_starting, is_well, missed_after, replaced_after
from actions.aws.groups import read_group
from actions.aws.target_errors import NotActionableError, TooEarlyError, make_in_turn
from actions.base import Call, CallResult, Observation, Outcome
from actions.catalog.autoscaling._processes import ChangesProcesses, ProcessesParams


class ResumeProcessesParams(ProcessesParams):
    set_healthy: list[Annotated[str, StringConstraints(pattern=r"^i-[0-9a-f]{8,17}$")]] = Field(
        default_factory=list, max_length=100
    )


class ResumeProcesses(ChangesProcesses):
    name = "resume_processes"
    allowed_during_changes = True
    permissions = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:ResumeProcesses",
        "autoscaling:SetInstanceHealth",
        "ec2:DescribeInstanceStatus",
        "ec2:DescribeInstances",
        "elasticloadbalancing:DescribeTargetHealth",
    )
    params = ResumeProcessesParams
    undone_by = "suspend_processes"

    def missing(self, wanted: AbstractSet[str], suspended: AbstractSet[str]) -> AbstractSet[str]:
        return wanted & suspended

    def observe(self, call: Call) -> Observation:
        observation = super().observe(call)
        if observation.already:
            return observation
        group = read_group(call.aws, call.target)
        resumed, own = set(observation.before["processes"]), set(call.params.get("set_healthy", ()))
        if missed := missed_after(call.aws, group, resumed=resumed, acted_on=own):
            raise NotActionableError(
                f"{group.name} would terminate a member to balance its zones while "
                f"{', '.join(missed)} is away: bring it back first"
            )
        lost = replaced_after(call.aws, group, resumed=resumed, acted_on=own)
        healed = sorted(name for name in lost & own if is_well(call.aws, group, name))
        left = sorted(lost.difference(healed))
        if left and all(name in own and is_starting(call.aws, name) for name in left):
            raise TooEarlyError(f"{', '.join(left)} is still starting")
        if left:
            raise NotActionableError(
                f"{group.name} would terminate {', '.join(left)}: bring it back into service, or "
                "into standby, first"
            )
        return Observation(already=False, before={**observation.before, "set_healthy": healed})

    def launches(self, params: Mapping[str, Any]) -> bool:
        return not {"Launch", "AZRebalance"}.isdisjoint(params.get("processes", ("Launch",)))

    def act(self, call: Call) -> Mapping[str, Any]:
        heal = partial(
            call.aws.autoscaling.set_instance_health,
            HealthStatus="Healthy",
            ShouldRespectGracePeriod=False,
        )
        make_in_turn(
            *(partial(heal, InstanceId=name) for name in call.before.get("set_healthy", ())),
            partial(call.aws.autoscaling.resume_processes, **self.arguments(call)),
        )
        return {}

    def read_back(self, call: Call) -> CallResult:
        """Unknown where only members were set Healthy."""
        result = super().read_back(call)
        members = read_group(call.aws, call.target).members
        healed = [name for name in call.before.get("set_healthy", ()) if name in members]
        partly = any(members[name].healthy for name in healed)
        failed = result.outcome is Outcome.FAILED
        return CallResult(Outcome.UNKNOWN) if failed and partly else result
