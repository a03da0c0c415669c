"""Bring one member of a group back from standby; it raises the desired capacity by one.

The member is pending first, runs through the group's lifecycle hooks and is health-checked again:
one that is still ill is replaced by its group. While it is still on its way into standby, the step
waits. `resume_rebalance` resumes AZRebalance, which `enter_standby` suspended.

```yaml
- action: exit_standby
```
"""

from collections.abc import Mapping
from typing import Any

from actions.aws.groups import read_group, read_member
from actions.aws.waits import launch_hooks_s
from actions.base import Call, CallResult, Observation, Outcome, Params, Progress
from actions.catalog.autoscaling._standby import CHANGES_WITHIN_S, ChangesStandby


class ExitStandbyParams(Params):
    resume_rebalance: bool = False


class ExitStandby(ChangesStandby):
    name = "exit_standby"
    allowed_during_changes = True
    params = ExitStandbyParams
    permissions = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:DescribeLifecycleHooks",
        "autoscaling:ExitStandby",
        "autoscaling:ResumeProcesses",
        "ec2:DescribeInstances",
    )
    undone_by = "enter_standby"
    # Ten health checks of a load balancer; the group's hooks have a time of their own.
    takes_up_to_s = 3_600.0
    start = "Standby"
    moves_to = frozenset({"Pending", "Pending:Wait", "Pending:Proceed", "InService"})
    difference = 1

    def observe(self, call: Call) -> Observation:
        observation = super().observe(call)
        before = {**observation.before, "back": observation.already}
        resumed = not call.params.get("resume_rebalance")
        return Observation(already=observation.already and resumed, before=before)

    def act(self, call: Call) -> Mapping[str, Any]:
        group = call.before["group"]
        if not call.before.get("back"):
            call.aws.autoscaling_once.exit_standby(
                InstanceIds=[call.target], AutoScalingGroupName=group
            )
        if call.params.get("resume_rebalance"):
            call.aws.autoscaling.resume_processes(
                AutoScalingGroupName=group, ScalingProcesses=["AZRebalance"]
            )
        return {}

    def read_back(self, call: Call) -> CallResult:
        """A member that is back leaves the group without AZRebalance if the second call is lost."""
        result = super().read_back(call)
        resumed = not call.params.get("resume_rebalance") or (
            "AZRebalance" not in read_group(call.aws, call.before["group"]).suspended
        )
        done = result.outcome is not Outcome.CHANGED or resumed
        return result if done else CallResult(Outcome.UNKNOWN)

    def lasts_up_to_s(self, call: Call) -> float:
        return launch_hooks_s(call.aws, call.before["group"]) + CHANGES_WITHIN_S

    def progress(self, call: Call) -> Progress:
        _, member = read_member(call.aws, call.target)
        return Progress.DONE if member.serves else Progress.UNDERWAY
