"""Give an instance in quarantine its former security groups back.

The undoing of `quarantine_instance`, which knows them.

```yaml
- action: release_quarantine
  params:
    groups: {eni-0123456789abcdef0: [sg-0123456789abcdef0]}
```
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field, StringConstraints

from actions.aws import inventory
from actions.aws.inventory import NotActionableError
from actions.base import Action, Call, CallResult, Impact, Observation, Outcome, Params, TargetKind
from actions.catalog.ec2 import isolation


class Former(Params):
    groups: Annotated[
        dict[
            Annotated[str, StringConstraints(pattern=r"^eni-[0-9a-f]{8,17}$")],
            Annotated[list[isolation.GroupId], Field(min_length=1)],
        ],
        Field(min_length=1),
    ]


class ReleaseQuarantine(Action):
    name: ClassVar[str] = "release_quarantine"
    target: ClassVar[TargetKind] = TargetKind.INSTANCE
    impact: ClassVar[Impact] = Impact.REVERSIBLE
    allowed_during_changes: ClassVar[bool] = True
    idempotent: ClassVar[bool] = True
    permissions: ClassVar[tuple[str, ...]] = isolation.RELEASING
    params: ClassVar[type[Params]] = Former

    def observe(self, call: Call) -> Observation:
        found = isolation.groups(call)
        if found.keys() != call.params["groups"].keys():
            raise NotActionableError(f"{call.target} has other interfaces than it had")
        return Observation(already=self._released(call), before={"groups": found})

    def act(self, call: Call) -> Mapping[str, Any]:
        isolation.assign(call, call.params["groups"])
        tags = [{"Key": isolation.TAG}]
        call.aws.ec2.delete_tags(Resources=[call.target], Tags=tags)  # type: ignore[arg-type] # it fits
        return {}

    def read_back(self, call: Call) -> CallResult:
        if self._released(call):
            return CallResult(Outcome.CHANGED)
        same = isolation.groups(call) == call.before["groups"]
        return CallResult(Outcome.FAILED if same else Outcome.UNKNOWN)

    def _released(self, call: Call) -> bool:
        wanted = {one: sorted(ids) for one, ids in call.params["groups"].items()}
        marked = isolation.TAG in inventory.read_instance(call.aws, call.target).tags
        return isolation.groups(call) == wanted and not marked
