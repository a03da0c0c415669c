"""Replace a group's members by ones of the launch-template version that was healthy last.

It starts an instance refresh with that version as the desired configuration; once the refresh
succeeds, AWS makes it the group's own. `$healthy_version` is the template and the version that the
service itself has seen healthy last, for five minutes at least; without one on record the step is
refused, and none is guessed. A person must approve each step. Whoever set the failing version, such
as Terraform, sets it again at the next apply: it must be changed there, too.

AWS starts no second refresh: cancel the unfinished one before. The group keeps
`min_healthy_percentage` of its members serving. A group with a mixed instances policy is refused,
because the desired configuration would replace the whole policy.

```yaml
- action: cancel_instance_refresh
  when: group.bad_version and group.refresh == "irreversible"
- action: restore_version
  params: {version: $healthy_version}
  when: group.bad_version
```

AWS checks that the role may use the launch template: a template with an instance profile also needs
`iam:PassRole` on its role, and one with tags `ec2:CreateTags`.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-refresh-overview.html
https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-launch-template-permissions.html
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from actions.aws.groups import read_group
from actions.aws.target_errors import NotActionableError
from actions.base import Call, Observation, Params
from actions.catalog.instance_refresh._refreshes import healthy_percentages
from actions.catalog.instance_refresh.start_instance_refresh import StartInstanceRefresh


class RestoreVersionParams(Params):
    """`version` is a launch template's id and one of its numbers: "lt-0123456789abcdef0/7"."""

    version: Annotated[str, StringConstraints(pattern=r"^lt-[0-9a-f]{8,17}/[1-9]\d{0,9}$")]
    min_healthy_percentage: Annotated[int, Field(ge=50, le=100)] = 90


class RestoreVersion(StartInstanceRefresh):
    name = "restore_version"
    needs_approval = True
    # The deploy that it takes back is the change.
    allowed_during_changes = True
    permissions = (*StartInstanceRefresh.permissions, "ec2:RunInstances")
    params = RestoreVersionParams
    undone_by = "rollback_instance_refresh"

    def observe(self, call: Call) -> Observation:
        group = read_group(call.aws, call.target)
        if group.mixed or not group.template:
            raise NotActionableError(
                f"{group.name} has no launch template of its own: restore its version by hand"
            )
        template, _, version = call.params["version"].partition("/")
        wanted = {(template, version)}
        members = {(member.template, member.version) for member in group.members.values()}
        if members | {(group.template, group.version)} == wanted:
            return Observation(already=True, before={})
        return self.observe_refreshes(call, group)

    def act(self, call: Call) -> Mapping[str, Any]:
        wanted = RestoreVersionParams.model_validate(dict(call.params))
        template, _, version = wanted.version.partition("/")
        answer = call.aws.autoscaling_once.start_instance_refresh(
            AutoScalingGroupName=call.target,
            Strategy="Rolling",
            DesiredConfiguration={
                "LaunchTemplate": {"LaunchTemplateId": template, "Version": version}
            },
            Preferences={
                **healthy_percentages(
                    wanted.min_healthy_percentage, call.before.get("maintenance")
                ),
                "SkipMatching": True,
            },
        )
        return {"refresh_id": answer.get("InstanceRefreshId", "")}
