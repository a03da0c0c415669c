"""Suspend processes of an Auto Scaling group while a run works on it.

They are resumed when the run ends, whatever its result, and as often as AWS needs. Processes that
were suspended before stay suspended, and those that somebody else suspended as well meanwhile, as
far as CloudTrail shows it by then. HealthCheck is suspended with ReplaceUnhealthy, so that no
member is marked Unhealthy meanwhile and terminated on the resumption: "if you resume
ReplaceUnhealthy, it replaces instances that were marked unhealthy". They stay suspended while AWS
may still be at work on a host, and where the group would terminate a member, such as one that was
stopped: then a person is asked.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/understand-how-suspending-processes-affects-other-processes.html

```yaml
- action: reboot_instance
  before:
    - action: suspend_processes
      params: {processes: [ReplaceUnhealthy, AZRebalance]}
```
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from actions.aws.context import suspended_by_others
from actions.aws.groups import read_group
from actions.aws.target_errors import TooEarlyError
from actions.base import Call, Undo
from actions.catalog.autoscaling._processes import ChangesProcesses


class SuspendProcesses(ChangesProcesses):
    name = "suspend_processes"
    released_at_end = True
    permissions = (
        "autoscaling:DescribeAutoScalingGroups",
        "autoscaling:SuspendProcesses",
    )
    undone_by = "resume_processes"

    def bind(self, call: Call) -> Mapping[str, Any]:
        processes = list(call.params["processes"])
        if "ReplaceUnhealthy" in processes and "HealthCheck" not in processes:
            processes.append("HealthCheck")
        return {**call.params, "processes": processes}

    def missing(self, wanted: AbstractSet[str], suspended: AbstractSet[str]) -> AbstractSet[str]:
        return wanted - suspended

    def undo(self, call: Call) -> Undo | None:
        """Not while a host may still boot: its load balancer would find it unhealthy afterwards."""
        if call.at_work:
            raise TooEarlyError(f"AWS may still be at work on {', '.join(call.at_work)}")
        params = {"processes": self._own(call), "set_healthy": [*call.acted_on]}
        return Undo("resume_processes", params)

    def unchanged_since(self, call: Call) -> bool:
        """Whether any process is still suspended, and by this call alone."""
        suspended = read_group(call.aws, call.target).suspended
        left = suspended.intersection(call.before["processes"])
        if left and call.sent_at and "others" not in call.seen:
            others = suspended_by_others(call.aws, call.target, left, call.sent_at)
            call.seen["others"] = sorted(others)
        return bool(suspended.intersection(self._own(call)))

    @staticmethod
    def _own(call: Call) -> list[str]:
        """The processes without those that others were seen to suspend."""
        others = call.seen.get("others", ())
        return [name for name in call.before["processes"] if name not in others]

    def launches(self, params: Mapping[str, Any]) -> bool:
        del params
        return False

    def act(self, call: Call) -> Mapping[str, Any]:
        call.aws.autoscaling.suspend_processes(**self.arguments(call))
        return {}
